"""Statistical models of costs and final values, and the statements derived from them."""
