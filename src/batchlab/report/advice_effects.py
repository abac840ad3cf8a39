"""What batch size does to a training, as far as the runs of an advice show it."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from batchlab.advice.advice import Advice, RateTried
from batchlab.records.estimate import Estimate
from batchlab.records.study import Study
from batchlab.records.trial import Status, TrialRecord
from batchlab.report.advice_commands import StoredCommand
from batchlab.report.advice_rows import is_raced, is_same_rate, runs_of
from batchlab.report.advice_words import target_text
from batchlab.report.cells import deciding_split, final_gaps, finals, held_out_split, plateaus_of
from batchlab.report.effects import Effect, gap_text, noise_text, plateau_text
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import (
    batch_sizes_text,
    batch_text,
    label_text,
    quantity_text,
    split_label,
    term_text,
)
from batchlab.words.catalogue import number_text, text
from batchlab.words.numbers import english_number

_BAD_ENDS = frozenset(
    status.value for status in Status if not status.ended_well and status is not Status.TIMEOUT
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochsToTarget:
    """The epochs of one batch size to the target, at the rate that is best known for it.

    Attributes:
        batch_size: examples per step.
        learning_rate: its rate.
        estimate: with its 95 % interval; of single runs their mean without one; None: no run met
            the target.
        met: of its single runs that met the target, after how many epochs.
        missed: of those that had not, how many epochs they had.
        is_estimated: whether the estimate is the advice's own, rather than a mean of single runs.
    """

    batch_size: int
    learning_rate: float
    estimate: Estimate | None
    met: tuple[float, ...]
    missed: tuple[float, ...]
    is_estimated: bool

    @property
    def enough(self) -> float | None:
        """How many epochs are enough; None where that is not known, for a run missed the target."""
        if self.estimate is None or (self.missed and not self.is_estimated):
            return None
        return self.estimate.estimate


def epochs_to_target(advice: Advice, study: Study) -> tuple[EpochsToTarget, ...]:
    """The epochs of every batch size that was trained, ascending; none without a target.

    What was estimated comes first: of the recommendation as it was verified, of others at their
    tuned rate. Where nothing was, single runs stand in, also those that chose the rate: of the
    rate that is named, or else of the one that got there on most seeds and soonest.

    Args:
        advice: the answer, with its runs.
        study: the trials of these runs, which know the steps of an epoch.
    """
    if advice.target is None:
        return ()
    per_epoch = {r.trial.batch_size: r.trial.plan.steps_in(1) for r in study.records}
    found = (_of_size(advice, size, per_epoch[size]) for size in sorted(per_epoch))
    return tuple(each for each in found if each is not None)


def _of_size(advice: Advice, size: int, per_epoch: int) -> EpochsToTarget | None:
    estimated = _estimated(advice, size, per_epoch)
    if estimated is not None:
        rate, estimate = estimated
        return _told(size, rate, runs_of(advice, size, rate), per_epoch, estimate)
    runs = [
        run
        for run in advice.tried
        if run.batch_size == size and run.purpose != "cool_down" and run.steps
        if run.status not in _BAD_ENDS
    ]
    met = [run.learning_rate for run in runs if run.steps_to_target is not None]
    if not met:
        if not runs:
            return None
        longest = max(runs, key=lambda run: (run.steps, _best(advice, run)))
        return _told(size, longest.learning_rate, [longest], per_epoch)
    rate = _known_rate(advice, size, met) or min(met, key=lambda rate: _order(_at(runs, rate)))
    return _told(size, rate, _at(runs, rate), per_epoch)


def _estimated(advice: Advice, size: int, per_epoch: int) -> tuple[float, Estimate] | None:
    """The rate and the epochs that the answer has for a batch size."""
    found = advice.recommendation
    if found is not None and found.batch_size == size and advice.expected is not None:
        expected = advice.expected.epochs_to_target
        if expected.estimate is not None:
            return found.learning_rate, expected
    candidate = advice.candidate(size)
    if candidate is None or candidate.learning_rate is None or is_raced(advice):
        return None
    if candidate.steps_to_target.estimate is None:
        return None
    return candidate.learning_rate, _in_epochs(candidate.steps_to_target, per_epoch)


def _in_epochs(steps: Estimate, per_epoch: int) -> Estimate:
    value, low, high = (
        None if steps_known is None else steps_known * (1 / per_epoch)
        for steps_known in (steps.estimate, steps.low, steps.high)
    )
    return replace(steps, estimate=value, low=low, high=high)


def _known_rate(advice: Advice, size: int, rates: Iterable[float]) -> float | None:
    """The one of these rates that the answer has for a batch size; None: it has none of them."""
    known = list(rates)
    for rate in answered_rates(advice, size):
        same = [each for each in known if is_same_rate(each, rate)]
        if same:
            return same[0]
    return None


def answered_rates(advice: Advice, batch_size: int) -> list[float]:
    """The rates that the answer has for a batch size, the one that counts most first."""
    candidate = advice.candidate(batch_size)
    configurations = [
        found.learning_rate
        for found in (advice.named, advice.reference_tuned)
        if found is not None and found.batch_size == batch_size
    ]
    tuned = None if candidate is None else candidate.learning_rate
    return [*configurations, *([] if tuned is None else [tuned])]


def _at(runs: Iterable[RateTried], rate: float) -> list[RateTried]:
    """The runs at one rate; where some were on fresh seeds, these."""
    same = [run for run in runs if is_same_rate(run.learning_rate, rate)]
    return [run for run in same if run.purpose in ("value", "verify")] or same


def _order(runs: list[RateTried]) -> tuple[float, float]:
    """First what got there on most seeds, then what did so soonest."""
    steps = [run.steps_to_target for run in runs if run.steps_to_target is not None]
    return -len(steps) / len(runs), statistics.fmean(steps) if steps else 0.0


def _best(advice: Advice, run: RateTried) -> float:
    """How good the metric got, signed so that higher is better."""
    if run.best_value is None:
        return -math.inf
    return run.best_value if advice.better == "higher" else -run.best_value


def _told(
    size: int,
    rate: float,
    runs: Iterable[RateTried],
    per_epoch: int,
    estimate: Estimate | None = None,
) -> EpochsToTarget:
    met, missed = [], []
    for run in runs:
        if run.steps_to_target is not None:
            met.append(run.steps_to_target / per_epoch)
        elif run.steps:
            missed.append(run.steps / per_epoch)
    mean = Estimate.of(statistics.fmean(met), interval=(None, None), n=len(met)) if met else None
    return EpochsToTarget(
        batch_size=size,
        learning_rate=rate,
        estimate=estimate or mean,
        met=tuple(met),
        missed=tuple(missed),
        is_estimated=estimate is not None,
    )


# Of the longest run: what has so much of a fixed length came to its end.
_NEARLY_ALL = 0.99


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeTrainings:
    """The whole trainings of one batch size at one learning rate, equally long.

    Attributes:
        batch_size: examples per step.
        learning_rate: the rate.
        records: one a seed, at least one, each ended well.
    """

    batch_size: int
    learning_rate: float
    records: tuple[TrialRecord, ...]

    @property
    def epochs(self) -> float:
        """Passes over the training set of each."""
        return self.records[0].epochs


def whole_trainings(
    advice: Advice, study: Study, *, cool_down: float
) -> tuple[WholeTrainings, ...]:
    """The whole trainings of every batch size that has some, ascending, at one rate each.

    That is the rate which the answer has for the batch size, or else the one whose trainings end
    best on validation data. Where trainings were compared on certain seeds, only these count.

    Args:
        advice: the answer; it says which rates and seeds count.
        study: its trials.
        cool_down: the last part over which the rate fell to zero; 0.0: it did not.
    """
    whole = [r for r in _ended(advice, study) if r.trial.cool_down == cool_down]
    seeds = () if advice.endings is None else advice.endings.seeds
    found = []
    for size in sorted({record.trial.batch_size for record in whole}):
        own = [record for record in whole if record.trial.batch_size == size]
        rates = {record.trial.learning_rate for record in own}
        cells = {rate: _cell(own, rate, seeds) for rate in rates}
        rate = _rate_of(advice, study, size, cells)
        found.append(WholeTrainings(batch_size=size, learning_rate=rate, records=cells[rate]))
    return tuple(found)


def _ended(advice: Advice, study: Study) -> list[TrialRecord]:
    """Those that were trained to their end.

    Train data are evaluated there and nowhere else. Where the length of a run was fixed they never
    are; there it is the length that tells.
    """
    metric = study.workload.metrics[0].name
    well = [record for record in study.records if record.ended_well]
    if advice.objective != "quality":
        return [record for record in well if record.final("train", metric) is not None]
    longest = max((record.epochs for record in well), default=0.0)
    return [record for record in well if record.epochs >= _NEARLY_ALL * longest > 0]


def _cell(
    records: Iterable[TrialRecord], rate: float, seeds: Sequence[int]
) -> tuple[TrialRecord, ...]:
    """The trainings at one rate: on the seeds that count, of the length that most have."""
    same = [record for record in records if record.trial.learning_rate == rate]
    compared = [record for record in same if record.trial.seed in seeds] or same
    lengths = Counter(record.steps for record in compared)
    length = max(lengths, key=lambda steps: (lengths[steps], steps))
    return tuple(record for record in compared if record.steps == length)


def _rate_of(
    advice: Advice, study: Study, size: int, cells: dict[float, tuple[TrialRecord, ...]]
) -> float:
    for answered in answered_rates(advice, size):
        for rate in cells:
            if is_same_rate(rate, answered):
                return rate
    metric, split = study.workload.metrics[0], deciding_split(study)
    sign = 1 if metric.better == "higher" else -1

    def end(rate: float) -> float:
        known = [record.final(split, metric.name) for record in cells[rate]]
        values = [value for value in known if value is not None]
        return sign * statistics.fmean(values) if values else -float("inf")

    return max(sorted(cells), key=end)


@dataclass(frozen=True, kw_only=True, slots=True)
class Effects:
    """The effects of the batch sizes, each of them at one learning rate.

    Attributes:
        to_target: the epochs to the target, of every batch size that was trained.
        ends: whole trainings, as long as what is named is to be trained: those with a gap.
        flat: whole trainings at a constant rate: their plateau and, where there was one, the noise.
        has_schedule: whether the rate of whole trainings follows a shape of the workload's own.
    """

    to_target: tuple[EpochsToTarget, ...]
    ends: tuple[Effect, ...]
    flat: tuple[Effect, ...]
    has_schedule: bool

    @property
    def noisy(self) -> tuple[Effect, ...]:
        """Those whose noise is known."""
        return tuple(effect for effect in self.flat if effect.noises)

    @property
    def shows_epochs(self) -> bool:
        """Whether the epochs of one batch size stand beside those of another, or beside a bound."""
        return len(self.to_target) > 1 and any(each.enough for each in self.to_target)

    @property
    def shows_plateaus(self) -> bool:
        """The same of the epochs to the plateau, where there is no target."""
        told = [e for e in self.flat if e.plateau_epochs or e.unfinished_epochs]
        return not self.to_target and len(told) > 1 and any(e.plateau_epochs for e in told)

    @property
    def shows_gap(self) -> bool:
        """Whether the gap of two batch sizes is known."""
        return len(self.ends) > 1

    @property
    def shows_noise(self) -> bool:
        """Whether the noise of two batch sizes is known."""
        return len(self.noisy) > 1

    @property
    def shows_nothing(self) -> bool:
        """Whether not even of one batch size an effect is known."""
        plateaus = () if self.to_target else self.flat
        known = any(e.plateau_epochs or e.unfinished_epochs for e in plateaus)
        is_enough = any(each.enough for each in self.to_target)
        return not (known or is_enough or self.noisy or self.ends)

    @property
    def shows_all(self) -> bool:
        """Whether a sweep would show nothing more."""
        return self.shows_gap and (self.shows_noise or self.has_schedule)


def effects_of(advice: Advice, study: Study) -> Effects:
    """What the runs of an advice show; its page asks for it in several places."""
    named = advice.named
    cool_down = 0.0 if named is None else named.cool_down
    constant = whole_trainings(advice, study, cool_down=0.0)
    ended = whole_trainings(advice, study, cool_down=cool_down) if cool_down else constant
    # A rate that falls leaves less and less noise, which is not the batch size's doing.
    flat = [each for each in constant if each.records[0].trial.horizon_steps is None]
    split, metric = held_out_split(study), study.workload.metrics[0].name
    ends = [e for e in ended if split is not None and final_gaps(e.records, split, metric)]
    return Effects(
        to_target=epochs_to_target(advice, study),
        ends=_effects(study, ends),
        flat=_effects(study, flat),
        has_schedule=bool(constant) and not flat,
    )


def _effects(study: Study, trainings: Iterable[WholeTrainings]) -> tuple[Effect, ...]:
    plateaus = plateaus_of(study)
    return tuple(
        Effect.of(study, each.records, plateaus, batch_size=each.batch_size) for each in trainings
    )


def effect_sentences(advice: Advice, study: Study, effects: Effects) -> dict[str, str]:
    """One sentence on each of "epochs", "noise" and "gap".

    Args:
        advice: the answer.
        study: its trials.
        effects: what these show.
    """
    return {
        "epochs": _epochs(advice, study, effects),
        "noise": _noise(study, effects),
        "gap": _gap(study, effects),
    }


def untold_sentences(effects: Effects, said: Mapping[str, str], drawn: Container[str]) -> list[str]:
    """Those that stand under no picture; one for all of them where nothing is known.

    Args:
        effects: what the runs show.
        said: the sentences by the name of their effect.
        drawn: the names of the effects that have a picture.
    """
    if effects.shows_nothing:
        return [text("The runs of this study ended too early to show it.")]
    return [sentence for name, sentence in said.items() if name not in drawn]


def _epochs(advice: Advice, study: Study, effects: Effects) -> str:
    if advice.target is None:
        return plateau_text(study, effects.flat) or text(
            "The runs are too short to tell after how many epochs they stop improving."
        )
    target = target_text(advice.target)
    known = [(each, each.enough) for each in effects.to_target if each.enough is not None]
    missed = [each.batch_size for each in effects.to_target if each.enough is None]
    parts = []
    if known:
        (small, low), (large, high) = known[0], known[-1]
        parts = [
            text(
                "Epochs enough for {target}: about {low:epochs_to_target} at {small}, "
                "{high:epochs_to_target} at {large}.",
                target=target,
                low=low,
                small=batch_text(study, small.batch_size),
                high=high,
                large=batch_text(study, large.batch_size),
            )
            if small is not large
            else text(
                "Epochs enough for {target}: about {epochs:epochs_to_target} at {size}.",
                target=target,
                epochs=low,
                size=batch_text(study, small.batch_size),
            )
        ]
    if missed and known:
        names = batch_sizes_text(study, missed)
        parts.append(text("Not every run got there at {names}.", names=names))
    return " ".join(parts) or text(
        "At no batch size did every run get to {target}, so how many epochs are enough is open.",
        target=target,
    )


def _noise(study: Study, effects: Effects) -> str:
    metric = split_label(deciding_split(study), study.workload.metrics[0].name)
    said = noise_text(study, effects.noisy)
    if said is not None:
        return said
    if effects.has_schedule:
        return text(
            "The learning rate changes along these trainings, so how much the {metric} jumps at "
            "their end is not the doing of the batch size alone.",
            metric=metric,
        )
    if not effects.noisy:
        return text(
            "How much the {metric} jumps is not known. It shows where a training of twelve epochs "
            "or more has stopped improving.",
            metric=metric,
        )
    (only,) = effects.noisy
    return text(
        "From one epoch to the next the {metric} jumps by about {jump} at {size}. Of other batch "
        "sizes it is not known.",
        metric=metric,
        jump=number_text(fmean(only.noises), ".2g"),
        size=batch_text(study, only.batch_size),
    )


def _gap(study: Study, effects: Effects) -> str:
    metric, split = study.workload.metrics[0].name, held_out_split(study)
    said = gap_text(study, effects.ends)
    if said is not None:
        return said
    if split is None or not effects.ends:
        return text(
            "No training shows both the train and the held-out {metric} at its end, so the "
            "generalization gap is not known.",
            metric=label_text(metric),
        )
    (only,) = effects.ends
    gap = final_gaps(only.records, split, metric)
    assert gap is not None
    return text(
        "Training minus {split} {metric}: {gap} at {size}. No other batch size was trained to its "
        "end.",
        split=term_text(split),
        metric=label_text(metric),
        gap=quantity_text("generalization_gap", gap.mean),
        size=batch_text(study, only.batch_size),
    )


_Row = dict[str, Value]


def effects_table(study: Study, effects: Effects) -> Table:
    """The numbers; a batch size has two rows where its whole trainings are at another rate.

    Args:
        study: whose trials they are of.
        effects: what these show.
    """
    rows: dict[tuple[int, float], _Row] = {}
    for each in effects.to_target:
        rows.setdefault((each.batch_size, each.learning_rate), {}).update(_to_target(each))
    for effect in (*effects.flat, *effects.ends):
        rows.setdefault(_effects_table_cell(effect), {}).update(_whole(effect))
    for effect in effects.flat:
        rows[_effects_table_cell(effect)].update(_flat(effect, has_target=bool(effects.to_target)))
    for effect in effects.ends:
        rows[_effects_table_cell(effect)].update(_end(study, effect))
    columns = _columns(study)
    return Table(
        caption=text("What batch size does, by batch size and learning rate"),
        columns=columns,
        rows=tuple(
            (size, rate, *(row.get(column.key) for column in columns[2:]))
            for (size, rate), row in sorted(rows.items())
        ),
    ).without_empty_columns()


def _effects_table_cell(effect: Effect) -> tuple[int, float]:
    return effect.batch_size, effect.learning_rate


def _to_target(each: EpochsToTarget) -> _Row:
    row: _Row = {"n_met": len(each.met), "n_missed": len(each.missed)}
    if each.enough is None or each.estimate is None:
        return row
    return row | {"epochs": each.enough, "low": each.estimate.low, "high": each.estimate.high}


def _whole(effect: Effect) -> _Row:
    return {"whole_epochs": effect.records[0].epochs, "n": len(effect.records)}


def _flat(effect: Effect, *, has_target: bool) -> _Row:
    row: _Row = {"noise": fmean(effect.noises) if effect.noises else None}
    if effect.plateau_epochs and not has_target:
        row["plateau"] = fmean(effect.plateau_epochs)
    return row


def _end(study: Study, effect: Effect) -> _Row:
    metric, split = study.workload.metrics[0].name, held_out_split(study)
    assert split is not None
    found = {
        "train": finals(effect.records, "train", metric),
        "held_out": finals(effect.records, split, metric),
        "gap": final_gaps(effect.records, split, metric),
    }
    return {key: None if spread is None else spread.mean for key, spread in found.items()}


def _columns(study: Study) -> tuple[Column, ...]:
    metric, split = study.workload.metrics[0].name, held_out_split(study) or "test"
    return (
        Column(key="batch_size", quantity="batch_size"),
        Column(key="learning_rate", quantity="learning_rate"),
        Column(key="epochs", quantity="epochs_to_target"),
        Column(key="low", quantity="epochs_to_target", label=text("from")),
        Column(key="high", quantity="epochs_to_target", label=text("to")),
        Column(key="n_met", quantity="n", label=text("runs that met it")),
        Column(key="n_missed", quantity="n", label=text("runs that did not")),
        Column(key="plateau", quantity="epoch", label=text("epochs until the plateau")),
        Column(key="whole_epochs", quantity="epochs_to_target", label=text("epochs of a training")),
        Column(key="n", quantity="n", label=text("seeds")),
        Column(key="train", quantity=metric, label=split_label("train", metric)),
        Column(key="held_out", quantity=metric, label=split_label(split, metric)),
        Column(key="gap", quantity="generalization_gap", label=text("gap")),
        Column(key="noise", quantity="metric_noise", label=text("jumps")),
    )


# A training as long shows the noise of its metric, if it has stopped improving by its half.
FEWEST_EPOCHS = 12
# Of one batch size alone another is this many times as large.
_FURTHER = 4
# What a sweep takes as an advice does.
_KEPT = frozenset(
    {
        *("--set", "--sampling", "--drop-last", "--device", "--store"),
        *("--metric", "--better", "--examples", "--batch-size", "--learning-rate"),
        *("--pattern", "--config"),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepCommand:
    """A sweep of a few batch sizes to their end.

    Attributes:
        batch_sizes: ascending.
        learning_rates: the best known of each, ascending; every batch size is trained at all.
        epochs: of every training.
        asked: the command that asked for the advice.
    """

    batch_sizes: tuple[int, ...]
    learning_rates: tuple[str, ...]
    epochs: int
    asked: str

    @property
    def n_trainings(self) -> int:
        """How often it trains."""
        return len(self.batch_sizes) * len(self.learning_rates)

    def __str__(self) -> str:
        sizes = [str(size) for size in self.batch_sizes]
        stored = StoredCommand.of(self.asked)
        if stored is None:
            return (
                f"batchlab.sweep(workload, batch_sizes=[{', '.join(sizes)}], "
                f"learning_rates=[{', '.join(self.learning_rates)}], epochs={self.epochs})"
            )
        options = {
            "--batch-sizes": ",".join(sizes),
            "--learning-rates": ",".join(self.learning_rates),
            "--epochs": str(self.epochs),
            "--report": "batch-sizes.html",
        }
        return stored.varied(name="sweep", keep=_KEPT, options=options)


def sweep_command(advice: Advice, study: Study, effects: Effects) -> SweepCommand:
    """The sweep of the batch sizes that count, at the rates that are best known for them.

    They are the smallest and the largest that were trained, yours and what is named; of one alone
    also a larger one, or else the largest of the smaller ones.

    Args:
        advice: the answer.
        study: its trials.
        effects: what these show, and at which rates.
    """
    trained = sorted({record.trial.batch_size for record in study.records})
    own = advice.reference.batch_size if advice.named is None else advice.named.batch_size
    sizes = {advice.reference.batch_size, own, *trained[:1], *trained[-1:]}
    if len(sizes) == 1:
        sizes |= _another(advice, *sizes)
    rates = {_rate(advice, _rates(effects), size) for size in sizes}
    return SweepCommand(
        batch_sizes=tuple(sorted(sizes)),
        learning_rates=tuple(
            dict.fromkeys(english_number(rate, "learning_rate") for rate in sorted(rates))
        ),
        epochs=_sweep_command_epochs(effects),
        asked=study.command,
    )


def _sweep_command_epochs(effects: Effects) -> int:
    """A whole training; long enough to show noise, where the rate's shape has no length."""
    whole = [record.epochs for effect in effects.ends for record in effect.records]
    fewest = 1 if effects.has_schedule and whole else FEWEST_EPOCHS
    return max([fewest, *map(math.ceil, whole)])


def _rates(effects: Effects) -> dict[int, float]:
    rates = {effect.batch_size: effect.learning_rate for effect in effects.flat}
    return rates | {each.batch_size: each.learning_rate for each in effects.to_target}


def _rate(advice: Advice, known: dict[int, float], size: int) -> float:
    """The best known of a batch size; of one that was not trained yours, by the square root."""
    own = advice.reference.batch_size
    yours = known.get(own, advice.reference.learning_rate)
    return known.get(size, yours * math.sqrt(size / own))


def _another(advice: Advice, size: int) -> set[int]:
    fit = [c.batch_size for c in advice.candidates if c.fits and c.batch_size != size]
    nearest = sorted(fit, key=lambda other: abs(math.log(other / (_FURTHER * size))))
    return set(nearest[:1])
