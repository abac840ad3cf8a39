"""`python -m batchlab`: the command line, where the command `batchlab` is not on the path."""

from batchlab.cli.main import main

main()
