"""Words: the texts that people read, in one place; codes and numbers become sentences here."""
