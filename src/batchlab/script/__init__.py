"""Training commands of any script: arguments, processes, output and progress."""
