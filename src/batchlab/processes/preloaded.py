"""Preloaded: the last module that the fork server imports; it freezes all objects made by then.

Otherwise a garbage collection in a child would write into every object that the server imported,
and so copy that memory into the child.
"""

import gc

gc.collect()
gc.freeze()
