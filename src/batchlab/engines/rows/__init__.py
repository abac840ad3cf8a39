"""The engines: one file each, and the file's name is the registry's row.

Each file holds one public `ROW`, a `batchlab.engines.engine_row.EngineRow`: where the engine is and
what it can do, told without importing it.
"""
