"""The command line, with its commands in files; only `__main__` imports this package."""
