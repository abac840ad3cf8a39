"""The figures of the noise of a gradient, from a Noise to panels, sentences and a table.

Each file is a row of the registry, or several: its `ROWS` build figures from a Noise.
"""
