"""The report: results as a page, text, tables or images, made only from records."""
