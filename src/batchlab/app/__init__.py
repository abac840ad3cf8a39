"""Commands: one call each, shared by the command line and the Python functions."""
