"""Diagnosis: what is wrong with a trial, by its curves; each rule is one row with its thresholds.

A rule reads only the record and never its test scores, because a diagnosis may decide what runs
next. A rule whose curve is missing finds nothing; `unjudged` returns such rules.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from batchlab.laws.plateau import MetricPlateau, plateau_of
from batchlab.records.estimate import Reason
from batchlab.records.quantities import FRACTION_METRICS, Better
from batchlab.records.trial import Split, Status, TrialRecord

# A trial whose loss is more than a tenth above the untrained one no longer learns; below that, a
# trial that has hardly begun may wobble around its starting loss.
DIVERGED_LOSS_RATIO = 1.1
# A spike doubles the loss of the batches over the median of the five evaluations before it. A mean
# over many batches does not double by chance; for a falling loss that median is an upper bound.
SPIKE_RATIO = 2.0
SPIKE_WINDOW = 5
# Near a training loss of 0 a doubling means nothing, so a spike must also be 2 % of the first loss.
SPIKE_FLOOR_FRACTION = 0.02
# A validation loss 10 % above its best is beyond its wobble between epochs (1 to 3 % is usual).
OVERFIT_LOSS_RISE = 0.10
# For the other metrics the plateau's own test decides whether the curve has turned.
# A gap of 0.05 is above two standard errors (0.03) of an accuracy on 1,000 examples.
OVERFIT_FRACTION_GAP = 0.05
# A model that keeps half of its untrained loss, on training data as on other data, is limited by
# what it can represent, or by the noise of the labels.
UNDERFIT_LOSS_FRACTION = 0.5
UNDERFIT_GAP_FRACTION = 0.1
# An exponential fall with a time constant as long as the whole run makes 16.5 % of its progress in
# the last quarter of the epochs; a straight line makes 25 %.
SLOW_LAST_QUARTER_SHARE = 0.15
# A loss that falls by less than a hundredth of the untrained one in a whole run has hardly moved.
SLOW_LEAST_PROGRESS = 0.01
MIN_EPOCHS = 4  # so that the last quarter of the epochs holds at least one


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """The data that a rule may look at: the trial, the metric that counts, and its plateau."""

    record: TrialRecord
    metric: str
    better: Better
    plateau: MetricPlateau

    @property
    def diverged(self) -> bool:
        """Whether the diverged rule holds; no other rule judges such a trial."""
        return find_diverged(self) is not None

    @property
    def sign(self) -> int:
        """1 if higher values of the metric are better, else -1."""
        return 1 if self.better == "higher" else -1

    @property
    def cut_short(self) -> bool:
        """Whether it met its target or is still running, so that its length says nothing."""
        return self.record.status in (None, Status.TARGET_REACHED)


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnosisRule:
    """One row of the registry."""

    sentence: Reason  # what it means and what to try
    needs: Split | None  # the split whose curve it needs, or None if it needs none
    # A function that returns the evidence, or None if the rule does not hold.
    find: Callable[[Case], Reason | None]

    @property
    def name(self) -> str:
        """The name in JSON."""
        return self.sentence.code.removesuffix("_advice")

    @property
    def label(self) -> str:
        """The name for people."""
        return self.name.replace("_", " ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """Something that a trial's curves show: the rule, and the numbers that made it fire."""

    rule: DiagnosisRule
    evidence: Reason


def diagnose(
    record: TrialRecord, *, metric: str, better: Better, plateau: MetricPlateau | None = None
) -> tuple[Diagnosis, ...]:
    """Return everything that the rules find in one trial; for a healthy one that is nothing.

    Args:
        record: the trial; its test scores are not read.
        metric: name of the metric that counts.
        better: whether it goes up or down.
        plateau: of the validation curve, if it is known already; otherwise it is found here.

    Returns:
        The diagnoses in the order of `RULES`.
    """
    if plateau is None:
        plateau = plateau_of(record, metric=metric, better=better)
    case, diagnoses = Case(record=record, metric=metric, better=better, plateau=plateau), []
    for rule in RULES:
        evidence = rule.find(case)
        if evidence is not None:
            diagnoses.append(Diagnosis(rule=rule, evidence=evidence))
    return tuple(diagnoses)


def unjudged(record: TrialRecord) -> tuple[DiagnosisRule, ...]:
    """Return the rules that could not be judged because the record lacks the curve they need."""
    judged: set[Split | None] = {None}
    for evaluation in record.evaluations:
        judged.update(score.split for score in evaluation.scores if score.value is not None)
    return tuple(rule for rule in RULES if rule.needs not in judged)


def find_diverged(case: Case) -> Reason | None:
    """Find a trial that ended as diverged or NaN, or with a loss above the untrained model's."""
    record = case.record
    if record.status in (Status.DIVERGED, Status.NAN):
        return Reason.of("ended_badly", status=record.status.value, steps=record.steps)
    for split in ("train", "validation"):
        curve = _curve(record, split, "loss")
        if len(curve) > 1 and curve[0][0] == 0 < curve[0][1]:
            untrained, last = curve[0][1], curve[-1][1]
            if last > DIVERGED_LOSS_RATIO * untrained:
                return Reason.of(
                    "loss_before_and_after", split=split, last=last, untrained=untrained
                )
    return None


def find_unstable(case: Case) -> Reason | None:
    """Find jumps of the training batches' loss to more than twice its recent median."""
    if case.diverged:
        return None
    losses: list[float] = []
    spikes = {}
    for evaluation in case.record.evaluations:
        loss = evaluation.batch_loss
        if loss is None:
            continue
        if len(losses) >= SPIKE_WINDOW:
            recent = statistics.median(losses[-SPIKE_WINDOW:])
            floor = SPIKE_FLOOR_FRACTION * abs(losses[0])
            if loss > SPIKE_RATIO * recent and loss - recent > floor:
                spikes[evaluation.step] = loss / recent
        losses.append(loss)
    if not spikes:
        return None
    step = max(spikes, key=lambda step: spikes[step])
    return Reason.of("loss_spikes", n=len(spikes), ratio=spikes[step], step=step)


def find_overfitting(case: Case) -> Reason | None:
    """Find validation that got worse since its best, or stays far behind, as training improved."""
    if case.diverged:
        return None
    return _loss_has_turned(case) or _metric_has_turned(case) or _wide_gap(case)


def find_underfitting(case: Case) -> Reason | None:
    """Find a training loss that settled at half the untrained one or more, validation near it.

    Without a validation set there is no plateau; then the rule of slow convergence decides whether
    the training loss has settled.
    """
    train = _curve(case.record, "train", "loss")
    if case.diverged or find_slow_convergence(case) or find_not_enough_epochs(case):
        return None
    if len(train) <= MIN_EPOCHS or train[0][0] != 0 or train[0][1] <= 0:
        return None
    untrained, last = train[0][1], train[-1][1]
    validation = case.record.last("validation", "loss")
    behind = validation is not None and validation - last > UNDERFIT_GAP_FRACTION * abs(last)
    if last < UNDERFIT_LOSS_FRACTION * untrained or behind:
        return None
    return Reason.of("loss_before_and_after", split="train", last=last, untrained=untrained)


def find_slow_convergence(case: Case) -> Reason | None:
    """Find a last quarter of the epochs that still brought much, or a loss that hardly fell."""
    train = _curve(case.record, "train", "loss")
    if case.diverged or case.cut_short or len(train) <= MIN_EPOCHS or train[0][0] != 0:
        return None
    (_, untrained), (end, last) = train[0], train[-1]
    progress = untrained - last
    if progress <= SLOW_LEAST_PROGRESS * abs(untrained):
        return Reason.of("loss_before_and_after", split="train", last=last, untrained=untrained)
    at_three_quarters = [loss for epoch, loss in train if epoch <= 0.75 * end][-1]
    share = (at_three_quarters - last) / progress
    if share < SLOW_LAST_QUARTER_SHARE:
        return None
    return Reason.of("loss_still_falls", share=share)


def find_not_enough_epochs(case: Case) -> Reason | None:
    """Find a validation curve that has not reached its plateau."""
    if case.diverged or case.cut_short or case.plateau.verdict != "not_yet":
        return None
    return case.plateau.reason


RULES = (
    DiagnosisRule(sentence=Reason.of("diverged_advice"), needs=None, find=find_diverged),
    DiagnosisRule(sentence=Reason.of("unstable_advice"), needs=None, find=find_unstable),
    DiagnosisRule(
        sentence=Reason.of("overfitting_advice"), needs="validation", find=find_overfitting
    ),
    DiagnosisRule(sentence=Reason.of("underfitting_advice"), needs="train", find=find_underfitting),
    DiagnosisRule(
        sentence=Reason.of("slow_convergence_advice"), needs="train", find=find_slow_convergence
    ),
    DiagnosisRule(
        sentence=Reason.of("not_enough_epochs_advice"),
        needs="validation",
        find=find_not_enough_epochs,
    ),
)


def _curve(record: TrialRecord, split: Split, metric: str) -> list[tuple[float, float]]:
    """Return (epoch, value) for each evaluation at which `metric` of `split` is known."""
    return [(record.epoch_of(at), value) for at, value in record.curve(split, metric)]


def _loss_has_turned(case: Case) -> Reason | None:
    """Find validation loss 10 % above its best epoch's, with training loss below that epoch's."""
    validation = _at_epochs(case.record, "validation", "loss")
    train = _at_epochs(case.record, "train", "loss")
    common = sorted(validation.keys() & train.keys())
    if len(common) < MIN_EPOCHS:
        return None
    best = min(common, key=lambda epoch: validation[epoch])
    # The median of the last three is taken, because one bad epoch at the end is no overfitting.
    last = statistics.median(validation[epoch] for epoch in common[-3:])
    rise = last - validation[best]
    if rise <= OVERFIT_LOSS_RISE * abs(validation[best]) or train[common[-1]] >= train[best]:
        return None
    return Reason.of(
        "validation_loss_rose",
        least=validation[best],
        epoch=best,
        last=last,
        train_then=train[best],
        train_last=train[common[-1]],
    )


def _metric_has_turned(case: Case) -> Reason | None:
    """Find a validation metric that has turned by the plateau's test while training has not."""
    epoch = case.plateau.epoch
    train = _at_epochs(case.record, "train", case.metric)
    if not case.plateau.turned or epoch not in train:
        return None
    if case.sign * (train[max(train)] - train[epoch]) <= 0:
        return None
    return Reason.of("validation_got_worse", metric=case.metric, epoch=epoch)


def _wide_gap(case: Case) -> Reason | None:
    """Find a training accuracy (or error) that is better than validation's by 0.05 or more."""
    train = case.record.last("train", case.metric)
    validation = case.record.last("validation", case.metric)
    if case.metric not in FRACTION_METRICS or train is None or validation is None:
        return None
    if case.sign * (train - validation) < OVERFIT_FRACTION_GAP:
        return None
    return Reason.of("wide_gap", metric=case.metric, train=train, validation=validation)


def _at_epochs(record: TrialRecord, split: Split, metric: str) -> dict[int, float]:
    """Return the values at epoch ends, by epoch, without the untrained model's."""
    values = record.at_epoch_ends(split, metric)
    values.pop(0, None)
    return values
