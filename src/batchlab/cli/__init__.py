"""The command line: its commands by file. Nothing imports it."""
