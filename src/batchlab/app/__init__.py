"""Commands: one call each, what the command line and the Python names share."""
