"""Replications: published experiments, run here; `papers` has a file each."""
