"""Preloaded: the last thing that the fork server imports; it sets apart what is there by then.

A garbage collection in a child would otherwise write into every object that the server imported,
and so make the child's own copy of that memory.
"""

import gc

gc.collect()
gc.freeze()
