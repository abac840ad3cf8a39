"""The name, unit and label of each measured quantity, and the better direction of each metric.

Reports, CSV headers, `--json` and docs all use `QUANTITIES`, so that each name, unit and label is
written only once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]
FRACTION_METRICS = ("accuracy", "error")
"""Metrics from 0 to 1 that are shown in percent; some scripts report values from 0 to 100."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """The name, unit and label of a measured quantity.

    Attributes:
        name: the key in records, CSV and JSON.
        unit: the unit, "" for a pure number.
        label: the words on an axis or in a table header, without the unit.
    """

    name: str
    unit: str
    label: str


QUANTITIES = (
    Quantity(name="batch_size", unit="examples", label="batch size"),
    Quantity(name="learning_rate", unit="", label="learning rate"),
    Quantity(name="epoch", unit="", label="epoch"),
    Quantity(name="step", unit="", label="step"),
    Quantity(name="samples", unit="examples", label="examples seen"),
    Quantity(name="time_to_target_s", unit="s", label="time to target"),
    Quantity(name="steps_to_target", unit="", label="steps to target"),
    Quantity(name="samples_to_target", unit="examples", label="examples to target"),
    Quantity(name="epochs_to_target", unit="", label="epochs to target"),
    Quantity(name="critical_batch_size", unit="examples", label="critical batch size"),
    Quantity(name="train_s", unit="s", label="training time"),
    Quantity(name="eval_s", unit="s", label="evaluation time"),
    Quantity(name="equal_time_s", unit="s", label="training time, run alone"),
    Quantity(name="step_s", unit="s", label="time per step"),
    Quantity(name="samples_per_s", unit="1/s", label="throughput"),
    Quantity(name="peak_bytes", unit="B", label="peak memory"),
    Quantity(name="distance", unit="", label="distance from the initial weights"),
    Quantity(name="parameter_norm", unit="", label="norm of the weights"),
    Quantity(name="noise_scale", unit="examples", label="gradient noise scale"),
    Quantity(name="gradient_variance", unit="", label="variance of the gradient"),
    Quantity(name="sharpness", unit="%", label="sharpness"),
    Quantity(name="batch_loss", unit="", label="loss of the training batches"),
    Quantity(name="ratio", unit="", label="ratio"),
    Quantity(name="generalization_gap", unit="", label="generalization gap"),
    Quantity(name="loss", unit="", label="loss"),
    Quantity(name="error", unit="", label="error"),
    Quantity(name="gap_points", unit="points", label="gap"),
    Quantity(name="accuracy", unit="", label="accuracy"),
)

_BY_NAME = {quantity.name: quantity for quantity in QUANTITIES}


def quantity(name: str) -> Quantity:
    """Return the quantity called `name`; an unknown name is a user's metric, which has no unit."""
    return _BY_NAME.get(name) or Quantity(name=name, unit="", label=name)


# Common metric names, without final digits, and "lower" or "higher" for the better values.
_DIRECTIONS: dict[str, Better] = {
    **dict.fromkeys(
        "loss logloss error err merror perplexity ppl mae mse rmse msle rmsle mape smape wape mase "
        "nll wer cer eer ter fid lpips bpc bpb bpd crps ece brier bce cross_entropy "
        "crossentropy".split(),
        "lower",
    ),
    **dict.fromkeys(
        "accuracy acc top f auc auroc aucpr auprc ap map precision recall bleu chrf meteor cider "
        "rouge rougel r iou miou dice jaccard spearman pearson kappa mcc mrr ndcg hit hits em "
        "exact_match psnr ssim reward rew return success".split(),
        "higher",
    ),
}
# Words after a metric's name that are ignored (`error_rate`, `f1_macro`, `ep_rew_mean`).
_BEHIND = frozenset("rate score value mean avg macro micro weighted epoch k".split())


def direction_of(metric: str) -> Better | None:
    """Return whether "higher" or "lower" values of a metric are better; None for unknown names."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"\(.*?\)", "", metric.lower()))
    while words and (words[-1].isdigit() or words[-1] in _BEHIND):
        words.pop()  # drop the digits of "mAP50-95" and "ndcg@10"
    if words[-1:] == ["f"] and {*words[-2:-1]} & _DIRECTIONS.keys():
        # drop the "f" of `rmse_f` (an RMSE of forces), but not of `ents_f` (an F-score)
        words.pop()
    if not words or {"neg", "negative"} & {*words}:
        return None
    return _DIRECTIONS.get(words[-1].rstrip("0123456789")) or _DIRECTIONS.get("_".join(words[-2:]))
