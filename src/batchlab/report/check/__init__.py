"""Check: whether a gradient stays what it is under accumulation, as people read it."""
