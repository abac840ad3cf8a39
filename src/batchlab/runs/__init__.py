"""Engines: classes that train the runs of a study, with the interface in `contract`."""
