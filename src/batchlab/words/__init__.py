"""Words: turns codes and numbers into the sentences that people read."""
