"""Softmax regression, number by number: loss and gradient straight from the definitions."""

from __future__ import annotations

import math


def loss_and_gradient(
    inputs: list[list[float]],
    labels: list[int],
    weights: list[list[float]],
    biases: list[float],
) -> tuple[float, list[list[float]], list[float]]:
    """Mean cross entropy, and its gradient to weights (classes × inputs) and biases.

    The gradient of one example is (p - onehot) x^T, p the softmax of its scores.
    """
    n, n_classes, n_inputs = len(inputs), len(weights), len(inputs[0])
    loss = 0.0
    weight_gradient = [[0.0] * n_inputs for _ in range(n_classes)]
    bias_gradient = [0.0] * n_classes
    for x, label in zip(inputs, labels, strict=True):
        scores = [
            sum(w * value for w, value in zip(row, x, strict=True)) + bias
            for row, bias in zip(weights, biases, strict=True)
        ]
        total = sum(math.exp(score) for score in scores)
        loss += (math.log(total) - scores[label]) / n
        for c in range(n_classes):
            error = math.exp(scores[c]) / total - (1.0 if c == label else 0.0)
            bias_gradient[c] += error / n
            for j in range(n_inputs):
                weight_gradient[c][j] += error * x[j] / n
    return loss, weight_gradient, bias_gradient
