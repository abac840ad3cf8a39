"""Engines: who answers with trials, behind one contract."""
