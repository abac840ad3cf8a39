"""Measurements, one file per quantity; they change neither models nor random states of callers."""
