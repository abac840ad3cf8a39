"""Native: training and evaluation of small models by generated C code instead of PyTorch."""
