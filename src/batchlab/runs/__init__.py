"""Engines, which are sources of training runs with the interface in `contract`."""
