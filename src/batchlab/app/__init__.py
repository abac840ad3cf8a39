"""The commands, each implemented once for the command line and the Python functions."""
