"""The figures of an advice, from the answer to what it rests on.

Each file is a row of the registry: its `ROWS` build figures from (Advice, Study, Profile or None).
"""
