"""The version of batchlab, which the package, the wheel and the command line read from here."""

__version__ = "0.1.0"
