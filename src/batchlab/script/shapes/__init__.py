"""The shapes of progress: one file each, and the file's name is the registry's row.

Each file holds one public `SHAPE`, a `batchlab.script.reading.Shape`.
"""
