"""Measurements: one file a quantity, taken without leaving a trace in the caller."""
