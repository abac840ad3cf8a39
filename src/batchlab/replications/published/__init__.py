"""Published: tables of published numbers, a row a number; read by `replications.tables`."""
