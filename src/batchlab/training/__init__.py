"""Training: runs one trial in the current process, in PyTorch or in generated C code."""
