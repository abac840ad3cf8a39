"""What batch size does to a training, as far as the runs of an advice show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from batchlab.advice.advice import Advice, Candidate
from batchlab.records.estimate import Estimate
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.advice_rows import is_same_rate, runs_of
from batchlab.report.advice_words import target_text
from batchlab.report.cells import Cell, deciding_split, held_out_split
from batchlab.report.effects import (
    Effect,
    effect_of,
    ends_text,
    gap_text,
    noise_text,
    of_runs_text,
    plateau_text,
)
from batchlab.report.text import batch_sizes_text, label_text, quantity_text, split_label
from batchlab.words.catalogue import text

T = TypeVar("T")

# ---- to the target


@dataclass(frozen=True, kw_only=True, slots=True)
class ToTarget:
    """What one batch size takes to the target, at the rate that its figures are of."""

    candidate: Candidate
    learning_rate: float
    steps_per_epoch: int
    met: tuple[float, ...]  # after how many steps those of its runs that met the target did
    missed: tuple[int, ...]  # how many steps the others had

    @property
    def batch_size(self) -> int:
        """Examples per step."""
        return self.candidate.batch_size

    @property
    def epochs(self) -> Estimate:
        """How many are enough."""
        return self.candidate.steps_to_target.times(1 / self.steps_per_epoch)

    def estimate_of(self, quantity: str) -> Estimate:
        """Return time, epochs or steps to the target."""
        if quantity == "epochs_to_target":
            return self.epochs
        known: Estimate = getattr(self.candidate, quantity)
        return known

    def per_step(self, quantity: str) -> float | None:
        """Return how much of a quantity one step takes, or None if that is not known."""
        of_step = {"steps_to_target": 1.0, "epochs_to_target": 1 / self.steps_per_epoch}
        return of_step.get(quantity, self.candidate.step_s.estimate)


def to_target_of(advice: Advice, study: Study) -> tuple[ToTarget, ...]:
    """Return it for every batch size that was trained, ascending; none without a target."""
    per_epoch = {r.trial.batch_size: r.trial.plan.steps_in(1) for r in study.records}
    found = []
    for candidate in advice.candidates if advice.target is not None else ():
        size, rate = candidate.batch_size, candidate.learning_rate
        if rate is not None and size in per_epoch:
            runs = list(runs_of(advice, size, rate))
            met = (run.steps_to_target for run in runs)
            one = ToTarget(
                candidate=candidate,
                learning_rate=rate,
                steps_per_epoch=per_epoch[size],
                met=tuple(steps for steps in met if steps is not None),
                missed=tuple(run.steps for run in runs if run.steps_to_target is None),
            )
            found.append(one)
    return tuple(found)


def _answered_rate(advice: Advice, size: int, rates: Sequence[float]) -> float | None:
    """Return the one of these rates that the answer has for a batch size, what is named first."""
    answers = [each for each in (advice.named, advice.candidate(size)) if each is not None]
    known = [each.learning_rate for each in answers if each.batch_size == size]
    same = (rate for own in known if own for rate in rates if is_same_rate(rate, own))
    return next(same, None)


# ---- whole trainings

# Of the longest run: what has so much of a fixed length came to its end.
_NEARLY_ALL = 0.99


def whole_trainings(advice: Advice, study: Study) -> list[Cell]:
    """The whole trainings of every batch size that has some, ascending, at one rate each.

    That is the rate which the answer has for the batch size, or else the one whose trainings end
    best on validation data. Where trainings were compared on certain seeds, only these count.
    Those of one batch size are equally long.
    """
    whole = _ended(advice, study)
    seeds = () if advice.endings is None else advice.endings.seeds
    found = []
    for size in sorted({record.trial.batch_size for record in whole}):
        own = [record for record in whole if record.trial.batch_size == size]
        at_rates = {
            rate: _compared([r for r in own if r.trial.learning_rate == rate], seeds)
            for rate in sorted({record.trial.learning_rate for record in own})
        }
        rate = _answered_rate(advice, size, list(at_rates))
        if rate is None:
            rate = max(at_rates, key=lambda rate: at_rates[rate].worth(study))
        found.append(at_rates[rate])
    return found


def _ended(advice: Advice, study: Study) -> list[TrialRecord]:
    """Those that were trained to their end.

    Train data are evaluated there and nowhere else. Where the length of a run was fixed they never
    are; there it is the length that tells.
    """
    metric = study.workload.metrics[0].name
    well = [record for record in study.records if record.ended_well]
    if advice.objective != "quality":
        return [record for record in well if record.last("train", metric) is not None]
    longest = max((record.epochs for record in well), default=0.0)
    return [record for record in well if record.epochs >= _NEARLY_ALL * longest > 0]


def _compared(same: Sequence[TrialRecord], seeds: Sequence[int]) -> Cell:
    """The trainings at one rate: on the seeds that count, of the length that most have."""
    compared = [record for record in same if record.trial.seed in seeds] or same
    lengths = Counter(record.steps for record in compared)
    length = max(lengths, key=lambda steps: (lengths[steps], steps))
    return Cell(records=tuple(record for record in compared if record.steps == length))


# ---- all of it together


@dataclass(frozen=True, kw_only=True, slots=True)
class Effects:
    """The effects of the batch sizes, each of them at one learning rate."""

    to_target: tuple[ToTarget, ...]  # of every batch size that was trained
    ends: tuple[Effect, ...]  # whole trainings as what is named is to be trained, with a gap
    flat: tuple[Effect, ...]  # whole trainings at a constant rate: their plateau and noise
    has_schedule: bool  # does their rate follow a shape of the workload's own?

    @property
    def noisy(self) -> tuple[Effect, ...]:
        """Those whose noise is known."""
        return tuple(effect for effect in self.flat if effect.noises)

    @property
    def plateaus(self) -> tuple[Effect, ...]:
        """Where there is no target: those that reached their plateau, or are known not to have."""
        flat = () if self.to_target else self.flat
        return tuple(each for each in flat if each.plateau_epochs or each.unfinished_epochs)


def compared(found: tuple[T, ...]) -> tuple[T, ...]:
    """What is known of several batch sizes; of one alone there is nothing to compare it with."""
    return found if len(found) > 1 else ()


def effects_of(advice: Advice, study: Study) -> Effects:
    """What the runs of an advice show."""
    ended = whole_trainings(advice, study)
    # A rate that falls leaves less and less noise, which is not the batch size's doing.
    flat = [cell for cell in ended if cell.records[0].trial.horizon_steps is None]
    split, metric = held_out_split(study), study.workload.metrics[0].name
    ends = [cell for cell in ended if split and cell.final_gap(split, metric)]
    return Effects(
        to_target=to_target_of(advice, study),
        ends=tuple(effect_of(study, cell.records) for cell in ends),
        flat=tuple(effect_of(study, cell.records) for cell in flat),
        has_schedule=bool(ended) and not flat,
    )


# ---- in words


def effect_sentences(advice: Advice, study: Study, effects: Effects) -> dict[str, str]:
    """One sentence on each of "epochs", "noise" and "gap", or why the runs do not show it."""
    return {
        "epochs": _epochs_text(advice, study, effects),
        "noise": noise_text(
            study, effects.noisy, alone=text("Of other batch sizes it is not known.")
        )
        or _no_noise_text(study, effects),
        "gap": gap_text(study, effects.ends, alone=text("Of other batch sizes it is not known."))
        or text(
            "No training shows both the train and the held-out {metric} at its end, so the "
            "generalization gap is not known.",
            metric=label_text(study.workload.metrics[0].name),
        ),
    }


def untold_sentences(effects: Effects, said: Mapping[str, str], drawn: Container[str]) -> list[str]:
    """Those that stand under no picture; one for all of them where nothing is known."""
    knows_enough = any(each.epochs.estimate for each in effects.to_target)
    if not (knows_enough or effects.plateaus or effects.noisy or effects.ends):
        return [text("The runs of this study do not show what batch size does to a training.")]
    return [sentence for name, sentence in said.items() if name not in drawn]


def _epochs_text(advice: Advice, study: Study, effects: Effects) -> str:
    if advice.target is None:
        return plateau_text(study, effects.flat) or text(
            "The runs are too short to tell after how many epochs they stop improving."
        )
    target = target_text(advice.target)
    known, unknown = [], []
    for each in effects.to_target:
        if each.epochs.estimate is None:
            unknown.append(each.batch_size)
        else:
            epochs = quantity_text("epochs_to_target", each.epochs.estimate)
            known.append((each.batch_size, of_runs_text(epochs, each.epochs.n)))
    if not known:
        return text(
            "At no batch size did a run get to {target}, so how many epochs are enough is open.",
            target=target,
        )
    ends = ends_text(study, known)
    enough = text("Epochs enough for {target}: about {ends}.", target=target, ends=ends)
    if not unknown:
        return enough
    names = batch_sizes_text(study, unknown)
    return f"{enough} {text('No run got there at {names}.', names=names)}"


def _no_noise_text(study: Study, effects: Effects) -> str:
    message = (
        "The learning rate changes along these trainings, so how much the {metric} jumps at their "
        "end is not the doing of the batch size alone."
        if effects.has_schedule
        else "How much the {metric} jumps is not known. It shows where a training of twelve epochs "
        "or more has stopped improving."
    )
    metric = split_label(deciding_split(study), study.workload.metrics[0].name)
    return text(message, metric=metric)
