"""Profiling: what each batch size costs in time and memory."""
