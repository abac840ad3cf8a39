"""The replications: one file each, and the file's name is the registry's row.

A file has `experiments(form)`, what is trained; `measured(studies, table)`, what that shows, by
name; and `drawings(studies, table)`, its figures. The TOML file of the same name says what is
asked, what the source leaves open, and the claims, each a comparison of something measured with
rows of a table.
"""
