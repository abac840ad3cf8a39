"""Measurements: one file per quantity, taken without leaving a trace in the caller."""
