"""The replications: one Python file and one TOML file each.

The Python file has `experiments(is_quick)`, the sweeps to run, and `measured(studies)`, the numbers
that they give, by name. The TOML file has the title, the protocol, what the source leaves open, and
the claims, which compare a measured number with rows of a table of published numbers.
"""
