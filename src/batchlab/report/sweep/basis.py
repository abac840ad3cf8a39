"""Basis: what was compared, and at which learning rates."""

from __future__ import annotations

from batchlab.plans.scaling import moves_adam
from batchlab.records.study import Study
from batchlab.report.parts.held_out import deciding_split
from batchlab.report.parts.term_text import term_text
from batchlab.report.sweep.cells import cells
from batchlab.report.sweep.evidence import Evidence
from batchlab.words.catalogue import number_text, plural, text


def basis_text(evidence: Evidence) -> str:
    """What was compared, for evidence of one trial or more that ended well."""
    n_sizes, rates = len(evidence.cells), _rates_text(evidence.study)
    if n_sizes == 1:
        told = text("Trained {rates}, {seeds}.", rates=rates, seeds=_seeds_text(evidence))
    else:
        told = text(
            "Compared: {n} batch sizes {rates}, {seeds} each.",
            n=n_sizes,
            rates=rates,
            seeds=_seeds_text(evidence),
        )
    tried = cells(evidence.study)
    if len(tried) == len({cell.batch_size for cell in tried}):
        return told
    return text(
        "{told} The best of several rates looks better than it is on the {split} data that chose "
        "it.",
        told=told,
        split=term_text(_chosen_on(evidence.study)),
    )


def _seeds_text(evidence: Evidence) -> str:
    n_seeds = sorted({len(cell.ended_well) for cell in evidence.cells})
    fewest, most = (number_text(n, "") for n in (n_seeds[0], n_seeds[-1]))
    which = most if fewest == most else text("{few} to {more}", few=fewest, more=most)
    return plural("{which} seed", "{which} seeds", n_seeds[-1], which=which)


def _rates_text(study: Study) -> str:
    """At which learning rates, in words."""
    rates: dict[int, set[float]] = {}
    for record in study.records:
        rates.setdefault(record.trial.batch_size, set()).add(record.trial.learning_rate)
    distinct = set().union(*rates.values())
    if len(distinct) == 1 and len(rates) == 1:
        return text("at learning rate {rate:learning_rate}", rate=distinct.pop())
    if len(distinct) == 1:
        return text(
            "at one fixed learning rate, {rate:learning_rate}, not tuned for each",
            rate=distinct.pop(),
        )
    if all(len(own) == 1 for own in rates.values()):
        return _one_rate_each({record.trial.scaling_rule for record in study.records})
    split = term_text(_chosen_on(study))
    if len(rates) == 1:
        return text("at the best of its learning rates on {split} data", split=split)
    return text("each at the best of its learning rates on {split} data", split=split)


def _chosen_on(study: Study) -> str:
    split = deciding_split(study)
    return "training" if split == "train" else split


def _one_rate_each(rules: set[str]) -> str:
    """That each batch size has one rate, and by which rule where it was one alone."""
    if len(rules) != 1 or rules == {"none"}:
        return text("at one learning rate each, not tuned")
    (rule,) = rules
    if moves_adam(rule):
        return text(
            "at one learning rate each, set by the rule {rule} (which moves Adam's betas and eps "
            "too), not tuned",
            rule=rule,
        )
    return text("at one learning rate each, set by the rule {rule}, not tuned", rule=rule)
