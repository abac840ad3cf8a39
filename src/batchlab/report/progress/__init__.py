"""How a command gets on, as lines for a terminal or a notebook."""
