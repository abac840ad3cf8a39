"""Records that every room reads and writes, and that know nothing of any room."""
