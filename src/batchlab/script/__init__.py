"""Anybody's training command: its arguments, its life, its output, its progress."""
