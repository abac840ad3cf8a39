"""Processes: child processes, workloads that are sent to children, and limits of memory."""
