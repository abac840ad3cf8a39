"""The version of batchlab, read by the package, the wheel and the command line."""

__version__ = "0.1.0"
