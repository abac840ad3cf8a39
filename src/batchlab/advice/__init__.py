"""Choose which trainings to run, and recommend a batch size from their records; needs no torch."""
