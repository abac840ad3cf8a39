"""The report of an advice."""
