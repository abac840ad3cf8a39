"""The report: what was found as a page, text, tables or images, read only from records."""
