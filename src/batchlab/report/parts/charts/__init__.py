"""Charts: from named rows to Altair charts, the same ones for a sweep and for an advice."""
