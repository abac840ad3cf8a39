"""Advice: what follows from records, without torch."""
