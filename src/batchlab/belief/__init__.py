"""The joint model of what is known about configurations, and what can be said from it."""
