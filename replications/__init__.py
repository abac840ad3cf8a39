"""Published experiments on batch size, run with batchlab: `python -m replications NAME`."""
