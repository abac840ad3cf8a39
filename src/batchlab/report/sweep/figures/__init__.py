"""The figures of a sweep, from a study to panels, sentences and a table.

Each file is a row of the registry, or several: its `ROWS` build figures from a Study.
"""
