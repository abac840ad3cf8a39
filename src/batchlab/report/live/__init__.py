"""A page that follows a study while it runs."""
