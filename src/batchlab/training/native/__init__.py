"""Native: a small model's training steps and evaluations as one C function."""
