"""Store: studies, trials and what was observed of them, in one SQLite file."""
