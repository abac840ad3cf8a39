"""Advice: choose training runs, and recommend a batch size from their records; no torch."""
