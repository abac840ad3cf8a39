"""The scaling rules: one file each, and the file's name is the registry's row.

Each file holds one public `RULE`, a `batchlab.plans.scaling_rule.ScalingRule`.
"""
