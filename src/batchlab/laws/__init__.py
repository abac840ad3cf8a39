"""Laws: arithmetic on records, without torch."""
