"""Processes: child processes, what travels to them, and the memory they may take."""
