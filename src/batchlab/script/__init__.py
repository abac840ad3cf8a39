"""Training by a command of any script: its arguments, processes, output and progress."""
