"""Engines: what runs trials, and the child processes in which they run."""
