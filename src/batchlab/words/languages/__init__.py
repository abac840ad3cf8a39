"""The languages: one file each, and the file's name is the registry's row.

Each file holds one public `LANGUAGE`, a `batchlab.words.language.Language`: the translations of the
English texts, as gettext reads them, and how the language writes numbers.
"""
