"""The measured quantities: name, unit, direction and label, one row each.

Report, CSV header, `--json` and docs all read these rows; a unit spelled elsewhere is a defect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]
FRACTION_METRICS = ("accuracy", "error")
"""Metrics between 0 and 1, which people read in percent; some scripts print them in percent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """One measured quantity.

    Attributes:
        name: the key in records, CSV and JSON.
        unit: its unit, "" for a pure number.
        better: which direction is better, None if neither is.
        label: the words on an axis or in a table header, without the unit.
    """

    name: str
    unit: str
    better: Better | None
    label: str

    @property
    def axis(self) -> str:
        """The label with its unit, as an axis or a table shows it."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


QUANTITIES = (
    Quantity(name="batch_size", unit="examples", better=None, label="batch size"),
    Quantity(name="learning_rate", unit="", better=None, label="learning rate"),
    Quantity(name="epoch", unit="", better=None, label="epoch"),
    Quantity(name="step", unit="", better=None, label="step"),
    Quantity(name="samples", unit="examples", better=None, label="examples seen"),
    Quantity(name="time_to_target_s", unit="s", better="lower", label="time to target"),
    Quantity(name="steps_to_target", unit="", better="lower", label="steps to target"),
    Quantity(name="samples_to_target", unit="examples", better="lower", label="examples to target"),
    Quantity(name="epochs_to_target", unit="", better="lower", label="epochs to target"),
    Quantity(name="critical_batch_size", unit="examples", better=None, label="critical batch size"),
    Quantity(name="train_s", unit="s", better="lower", label="training time"),
    Quantity(name="eval_s", unit="s", better="lower", label="evaluation time"),
    Quantity(name="equal_time_s", unit="s", better="lower", label="training time, run alone"),
    Quantity(name="step_s", unit="s", better="lower", label="time per step"),
    Quantity(name="samples_per_s", unit="1/s", better="higher", label="throughput"),
    Quantity(name="peak_bytes", unit="B", better="lower", label="peak memory"),
    Quantity(name="gradient_norm", unit="", better=None, label="gradient norm"),
    Quantity(name="update_norm", unit="", better=None, label="length of a step"),
    Quantity(name="distance", unit="", better=None, label="distance from the initial weights"),
    Quantity(name="parameter_norm", unit="", better=None, label="norm of the weights"),
    Quantity(name="noise_scale", unit="examples", better=None, label="gradient noise scale"),
    Quantity(name="gradient_variance", unit="", better=None, label="variance of the gradient"),
    Quantity(name="sharpness", unit="%", better=None, label="sharpness"),
    Quantity(name="sharpness_half_box", unit="%", better=None, label="sharpness, half the box"),
    Quantity(name="sharpness_subspace", unit="%", better=None, label="sharpness in a subspace"),
    Quantity(
        name="sharpness_subspace_half_box",
        unit="%",
        better=None,
        label="sharpness in a subspace, half the box",
    ),
    Quantity(name="top_eigenvalue", unit="", better=None, label="top eigenvalue of the Hessian"),
    Quantity(name="batch_loss", unit="", better="lower", label="loss of the training batches"),
    Quantity(name="distance_from_perfect", unit="", better="lower", label="distance from perfect"),
    Quantity(name="ratio", unit="", better=None, label="ratio"),
    Quantity(name="generalization_gap", unit="", better=None, label="generalization gap"),
    Quantity(name="loss", unit="", better="lower", label="loss"),
    Quantity(name="error", unit="", better="lower", label="error"),
    Quantity(name="gap_points", unit="points", better=None, label="gap"),
    Quantity(name="accuracy", unit="", better="higher", label="accuracy"),
)

_BY_NAME = {quantity.name: quantity for quantity in QUANTITIES}


def quantity(name: str) -> Quantity:
    """Return the row called `name`; a user's own metric has no unit and no direction."""
    return _BY_NAME.get(name) or Quantity(name=name, unit="", better=None, label=name)
