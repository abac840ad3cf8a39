"""Workload: what is trained, and how it is found, loaded and identified."""
