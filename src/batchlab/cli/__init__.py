"""The command line, with commands in separate files; only `__main__` imports this package."""
