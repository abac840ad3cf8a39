"""The replications: one file each, and the file's name is the registry's row.

Each has a function `paper()` that says all of it.
"""
