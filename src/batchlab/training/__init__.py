"""Training: one trial, in this process."""
