"""Store: studies, trials, evaluations and measurements, in one SQLite file."""
