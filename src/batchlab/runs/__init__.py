"""Engines that answer with trials, behind one contract."""
