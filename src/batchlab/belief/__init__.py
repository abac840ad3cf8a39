"""Statistical models of what trainings cost and how well they end, by batch size and rate."""
