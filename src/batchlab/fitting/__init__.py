"""Fitting: the laws of steps to target through points of a CSV file."""
