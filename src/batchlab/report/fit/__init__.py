"""The report of fitted points."""
