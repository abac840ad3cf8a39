"""Workload: what is trained, how it is found, loaded and told apart."""
