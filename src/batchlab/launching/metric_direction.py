"""MetricDirection: whether a metric goes up or down, told from the name that a script gives it."""

from __future__ import annotations

import re

from batchlab.records.quantities import Better

# The names that everybody uses. What is not among them is asked for, never guessed.
_LOWER = frozenset(
    "loss error err perplexity ppl mae mse rmse nll wer cer fid bpc bpb elbo_loss".split()
)
_HIGHER = frozenset(
    "accuracy acc top1 top5 f1 auc auroc ap map precision recall bleu rouge r2 iou miou dice "
    "spearman pearson mrr ndcg em exact_match".split()
)
_SPLIT = re.compile(r"^(eval|val|valid|validation|dev|test)[_/. -]+")


def direction_of(metric: str) -> Better | None:
    """The direction of a metric by its name: `val_loss` goes down, `eval_accuracy` up.

    Args:
        metric: its name, with or without the split in front.

    Returns:
        None: the name does not tell.
    """
    name = _SPLIT.sub("", metric.lower().strip())
    last = re.split(r"[_/. -]", name)[-1]
    for known, better in ((_LOWER, "lower"), (_HIGHER, "higher")):
        if name in known or last in known:
            return better  # type: ignore[return-value]
    return None
