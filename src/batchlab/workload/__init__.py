"""Workload: what is trained (model, data, loss), and how a workload is loaded and identified."""
