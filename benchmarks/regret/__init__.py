"""The record of regret: recorded grids, what configurations are worth on them, and habits."""
