"""The measurements: a file is a row, and its `MEASUREMENT` says what it is.

None of them loads torch when it is imported.
"""
