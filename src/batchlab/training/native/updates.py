"""Updates: for each supported optimizer, PyTorch's update of a parameter as C code.

In C, `prepare` converts a parameter group's settings, and a parameter's number of steps, to up to
eight numbers `d`; `update` changes a parameter and its optimizer state in place. Terms are added in
the order of `torch.optim`. To support another optimizer, add a rule to `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from batchlab.training.native.graph import unsupported

Group = dict[str, Any]


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """The C code for one optimizer of `torch.optim`, and the settings that the code supports.

    Attributes:
        states: returns the names of those state tensors that have the shape of their parameter.
        counts: whether the optimizer counts the steps of each parameter, in a tensor `step`.
        unlike: settings of the optimizer, each with the only value that this rule supports.
        numbers: returns a parameter group's current settings, in the order that `prepare` reads.
        shape: returns the settings that select the C code; all groups must have equal values.
        text: returns the C code for the values that `shape` returned.
    """

    states: Callable[[Group], tuple[str, ...]]
    counts: bool
    unlike: dict[str, Any]
    numbers: Callable[[Group], tuple[float, ...]]
    shape: Callable[[Group], tuple[bool, ...]]
    text: Callable[..., str]


_SIGNATURE = """
static void update(long n, float *restrict w, const float *restrict g, float *restrict s,
                   float *restrict t, float clip, const float *d) {{
    {begin}
#pragma omp simd
    for (long i = 0; i < n; i++) {{
        float x = clip * g[i];
        {body}
    }}
}}
"""


def _sgd(has_momentum: bool, nesterov: bool) -> str:
    prepare = """
static void prepare(const double *h, float *count, float *d) {
    // rate, momentum, dampening, decay, whether the momentum is there
    (void)count;
    d[0] = h[0]; d[2] = h[3];
    d[3] = h[4] ? h[1] : 0; d[4] = h[4] ? 1 - h[2] : 1; d[5] = h[1];
}
"""
    if not has_momentum:
        begin = "const float rate = d[0], decay = d[2]; (void)s; (void)t;"
        return prepare + _SIGNATURE.format(begin=begin, body="w[i] -= rate * (x + decay * w[i]);")
    begin = "const float rate = d[0], decay = d[2], old = d[3], new = d[4], mu = d[5]; (void)t;"
    body = "x += decay * w[i]; const float m = old * s[i] + new * x; s[i] = m; "
    step = "x + mu * m" if nesterov else "m"
    begin += " (void)mu;"
    return prepare + _SIGNATURE.format(begin=begin, body=f"{body}w[i] -= rate * ({step});")


def _adam(decoupled: bool) -> str:
    prepare = """
static void prepare(const double *h, float *count, float *d) {
    // rate, beta 1, beta 2, eps, decay
    const double t = (count[0] += 1);
    d[0] = h[0] / (1 - pow(h[1], t)); d[1] = sqrt(1 - pow(h[2], t)); d[2] = h[3];
    d[3] = 1 - h[1]; d[4] = h[2]; d[5] = 1 - h[2]; d[6] = h[4]; d[7] = 1 - h[0] * h[4];
}
"""
    begin = (
        "const float rate = d[0], unbias = 1 / d[1], eps = d[2], first = d[3], second = d[4], "
        "rest = d[5], decay = d[6], keep = d[7]; (void)decay; (void)keep;"
    )
    decayed = "float p = keep * w[i]; " if decoupled else "float p = w[i]; x += decay * p; "
    body = (
        f"{decayed}const float m = s[i] + (x - s[i]) * first; s[i] = m; "
        "const float v = second * t[i] + rest * x * x; t[i] = v; "
        "w[i] = p - rate * m / (sqrtf(v) * unbias + eps);"
    )
    return prepare + _SIGNATURE.format(begin=begin, body=body)


_ADAM = UpdateRule(
    states=lambda group: ("exp_avg", "exp_avg_sq"),
    counts=True,
    unlike={"amsgrad": False, "maximize": False, "capturable": False, "differentiable": False},
    numbers=lambda group: (group["lr"], *group["betas"], group["eps"], group["weight_decay"]),
    shape=lambda group: (bool(group.get("decoupled_weight_decay", False)),),
    text=_adam,
)

RULES: dict[type[torch.optim.Optimizer], UpdateRule] = {
    torch.optim.SGD: UpdateRule(
        states=lambda group: ("momentum_buffer",) * bool(group["momentum"]),
        counts=False,
        unlike={"maximize": False, "differentiable": False},
        numbers=lambda g: (g["lr"], g["momentum"], g["dampening"], g["weight_decay"], 1.0),
        shape=lambda g: (bool(g["momentum"]), bool(g["nesterov"])),
        text=_sgd,
    ),
    torch.optim.Adam: _ADAM,
    torch.optim.AdamW: replace(_ADAM, shape=lambda group: (True,)),
}


def rule_of(optimizer: torch.optim.Optimizer) -> UpdateRule:
    """Return the update rule for an optimizer.

    Raises:
        RefusedError: no rule supports the optimizer or one of its settings, or the parameter groups
            have settings that need different C code.
    """
    rule = RULES.get(type(optimizer))
    name = type(optimizer).__name__
    if rule is None:
        raise unsupported(f"the optimizer {name}")
    for group in optimizer.param_groups:
        for switch, expected in rule.unlike.items():
            if group.get(switch, expected) != expected:
                raise unsupported(f"{name} with {switch}")
        if rule.shape(group) != rule.shape(optimizer.param_groups[0]):
            raise unsupported(f"{name} with groups of different kinds")
    return rule


def group_numbers(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> list[int]:
    """Return the index of each parameter's group in the optimizer, or -1 if no group has it."""
    number_of: dict[int, int] = {}
    for number, group in enumerate(optimizer.param_groups):
        number_of.update(dict.fromkeys(map(id, group["params"]), number))
    return [number_of.get(id(parameter), -1) for parameter in parameters]
