"""Statistics and curve fits on the records of trainings, without importing torch."""
