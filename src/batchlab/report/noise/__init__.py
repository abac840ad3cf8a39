"""Noise: the gradient noise scale along a training, as people read it."""
