"""The laws of steps to target by batch size: a file is a row, and its `LAW` says what it is."""
