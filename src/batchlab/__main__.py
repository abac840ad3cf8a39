"""`python -m batchlab`: the command line, which works even if `batchlab` is not on PATH."""

from batchlab.cli.main import main

main()
