"""Records: what every room reads and writes. They know nothing of any room."""
