"""Parts: what every report is made of."""
