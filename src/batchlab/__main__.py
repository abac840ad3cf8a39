"""`python -m batchlab`: the command line, also if the command `batchlab` is not on PATH."""

from batchlab.cli.main import main

main()
