"""Measurements, one file per quantity; they leave the caller's model and random state as is."""
