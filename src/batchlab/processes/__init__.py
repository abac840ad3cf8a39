"""Child processes, the workloads that are sent to child processes, and limits of their memory."""
