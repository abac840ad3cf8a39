"""CommandCheck: checks, before a study, that a command trains and that its flags have effects."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from batchlab.errors import (
    BatchSizeError,
    OtherBatchSizeError,
    ProgressError,
    UsageError,
    WorkloadError,
)
from batchlab.records.study import MetricSummary, WorkloadSummary
from batchlab.records.trial import Status, Trial
from batchlab.script.command import TrainingCommand
from batchlab.script.flags import MULTIPLIERS, RAMP_UPS, defaults_in_code, flags_set
from batchlab.script.look import ROUNDING, VALUES, Enough, Look, LookComparison, has_losses
from batchlab.script.metric import follows_size, plain_name
from batchlab.script.trained_size import Span, common_span
from batchlab.words.catalogue import listing
from batchlab.words.reasons import reason_text

ONCE_AT_END = (
    "the metric is printed once, at the end of a training: nothing shows how long it takes to a "
    "target, and only final values can be compared"
)
"""The warning for a command without {epochs} and {steps} that prints its metric only at the end."""

_SILENCE = (
    "The script runs, and has shown no progress for {seconds:.0f} s. It may still read its data, "
    "or keep its output in a buffer: try print(..., flush=True), or stdbuf -oL before the command."
)
# Dividing the learning rate by this factor visibly changes any metric that depends on the rate.
_RATE_FACTOR = 8.0
# Raise or warn if an epoch with large batches takes at least this many times as long as one with
# small batches. Such epochs probably have a fixed number of steps instead of examples.
_LONGER_EPOCH = 2.0
_TIMED_S = 1.0  # Time the epochs of a batch size for this many seconds, or until the training ends.
# A learning rate multiplied by this factor is too small to train: the metric does not change.
_NO_TRAINING = 1e-6
# The other batch sizes to check are the user's batch size times these factors, or divided by these
# factors if the larger product exceeds the number of training examples.
_SIZE_FACTORS = (8, 4)
# A later check run may take this many times as long as the first: its batches may be larger.
_LONGER_RUN = 8
# If a script prints equal numbers for two values of a flag, repeat both check runs, and read this
# many times as many lines of progress as the first check run printed.
_READ_FURTHER = 4
# The first check run may use this share of the time limit: caches are empty, so it starts slowly.
_FIRST_SHARE = 0.5
_PROOF_SHARE = 0.4  # All check runs after the first may together use this share of the time limit.
_ANOTHER_SIZE = "with another batch size"
_NO_EXAMPLES = "how many training examples there are is not known"
_GIVE_EXAMPLES = "give --examples, such as --examples 50000"


def _never(_: Look) -> bool:
    return False


def _has_timed_epochs(look: Look) -> bool:
    return look.has_trained(_TIMED_S)


class CommandCheck:
    """The check of a command by short runs with several batch sizes, learning rates and seeds."""

    _first: Look  # The check run with the user's present batch size and learning rate.

    def __init__(
        self,
        command: TrainingCommand,
        *,
        workload_id: str,
        folder: Path,
        limit_s: float,
        tell: Callable[[str], None],
    ) -> None:
        """Prepare the check, but run nothing yet; all runs together may take `limit_s` seconds."""
        self._command = command
        self._defaults = defaults_in_code(command.arguments, command.place)
        self._workload_id = workload_id
        self._folder = folder
        self._limit_s = limit_s
        self._tell = tell
        # The warnings are the keys of a dict, so that each is stored only once, in order.
        self._warnings: dict[str, None] = {}
        self._unchecked: dict[str, None] = {}  # Descriptions of the checks that had no time.
        # The check runs after the first, by purpose and trial; None if the run raised an error.
        self._others: dict[tuple[str, Trial], Look | None] = {}
        self.looks: list[Look] = []  # All check runs, in the order of their starts.

    def summary(self, *, proves: bool) -> WorkloadSummary:
        """Make the check runs and return the findings; if `proves`, also test each flag's effect.

        Raises:
            WorkloadError: the command does not train, or never prints its metric.
            UsageError: a flag has no effect, or the number of examples is not known.
            ProgressError: the printed progress contradicts itself.
        """
        command = self._command
        now = f"as you train now, at batch size {command.batch_size}"
        limit_s = self._limit_s * (_FIRST_SHARE if proves else 1.0)
        first = self._first = self._run(now, command.own_trial(), limit_s, _has_timed_epochs)
        self._refuse_what_cannot_be_followed()
        fewest, most = examples = self._examples()
        self._refuse_another_size(examples)
        if command.batch_size > most:
            raise BatchSizeError(
                f"batch size {command.batch_size} of this command: expected 1 to {most}, the "
                f"size of its training set; give --batch-size, the one you train with now"
            )
        if proves:
            self._limit_s = min(self._limit_s, self._spent_s + _PROOF_SHARE * self._limit_s)
        self._ask_about_longer_epochs(examples)
        if proves:
            self._refuse_a_metric_of_the_batch(examples)
            fewest, most = self._proven(examples)
        if self._unchecked:
            self._warn(self._no_time_text())
        if fewest < most:
            self._warn(
                f"there are {fewest} to {most} training {command.unit}, by the steps of an epoch; "
                f"{fewest} is taken, and --examples gives their exact number"
            )
        self._warn_of_sizes()
        if not (first.end.was_asked or command.spans_a_length) and len(first.trained) == 1:
            self._warn(ONCE_AT_END)
        self._tell(first.progress.text())
        return WorkloadSummary(
            workload_id=self._workload_id,
            name=command.name,
            reference=command.name,
            settings=(),
            n_train=max(fewest, min(command.batch_size, most)),
            n_validation=None,
            n_test=0,
            n_train_evaluated=0,
            n_parameters=None,
            metrics=(MetricSummary(name=command.metric, better=command.direction),),
            batch_size=command.batch_size,
            learning_rate=first.trial.learning_rate,
            warnings=tuple(self._warnings),
            start_s=first.start_s,
            takes_rate=command.takes("learning_rate"),
            unit=command.unit,
        )

    def _warn(self, text: str) -> None:
        self._warnings.setdefault(text)

    def _no_time_text(self) -> str:
        return (
            f"there was no time to check {listing([*self._unchecked])}; it needs a larger --budget "
            f"and a new --store"
        )

    def _set(self, names: Sequence[str]) -> str:
        """Return the flags in `names` that are set above 1, such as "--gpus 4 and --nnodes 2"."""
        return " and ".join(flags_set(names, self._command.arguments, self._defaults))

    # ---- check runs

    @property
    def _spent_s(self) -> float:
        return sum(look.took_s for look in self.looks)

    def _run(self, what: str, trial: Trial, limit_s: float, is_enough: Enough) -> Look:
        self._tell(f"checking the command: {what}")
        look = Look(self._command, trial)
        look.run(
            is_enough,
            folder=self._folder / str(len(self.looks)),
            marker=f"{self._workload_id}/check",
            limit_s=max(1.0, limit_s),
        )
        self.looks.append(look)
        return look

    def _other(
        self, what: str, trial: Trial, is_enough: Enough, *, least_s: float, question: str
    ) -> Look | None:
        """Run `trial` for the purpose `what`, or return the check run of an earlier equal call.

        Return None if the earlier check run raised an error. If fewer than `least_s` seconds are
        left for a new check run, list `question` as unchecked and return None.
        """
        if (what, trial) not in self._others:
            left_s = self._limit_s - self._spent_s
            if left_s < least_s:
                self._unchecked.setdefault(question)
                return None
            self._others[what, trial] = None
            limit_s = min(left_s, _LONGER_RUN * self._first.took_s + 5.0)
            self._others[what, trial] = self._run(what, trial, limit_s, is_enough)
        return self._others[what, trial]

    def _compared(self, what: str, trial: Trial, shown: Enough = _never) -> Look | None:
        """Run `trial` until `look.has_trained()` or `shown(look)` is true; return this check run.

        Return None if no time is left, and list the run as unchecked. Return None if the run
        failed, and add a warning.
        """
        look = self._other(
            what,
            trial,
            lambda look: look.has_trained() or shown(look),
            least_s=self._first.took_s if shown is _never else self._first.start_s or 0.0,
            question=f"a run {what}",
        )
        if look is None:
            return None
        n = self._command.examples
        contradiction = look.contradiction((n, n)) if n else None
        if contradiction is None and (look.trained or shown(look)):
            return look
        trouble = "its metric was not seen in time"
        if not look.end.was_asked and look.end.reason is not None:
            trouble = reason_text(look.end.reason).rstrip(".")
        elif contradiction is not None:
            trouble = f"it does not train with it: {contradiction}"
        self._warn(f"the command could not be checked {what}: {trouble}")
        return None

    def _untrained(self, size: int, question: str) -> Look | None:
        """Return a check run at a learning rate near 0, or list `question` as unchecked."""
        trial = self._command.own_trial(size)
        if self._command.takes("learning_rate"):
            trial = replace(trial, learning_rate=trial.learning_rate * _NO_TRAINING)
        # Ignore progress errors, because the check run that trains with this size reports them.
        with suppress(ProgressError):
            return self._other(
                f"without training, at batch size {size}",
                trial,
                _has_timed_epochs,
                least_s=self._first.took_s,
                question=question,
            )
        self._unchecked.setdefault(question)
        return None

    # ---- refusals

    def _refuse_what_cannot_be_followed(self) -> None:
        """Raise if the command failed, or printed no metric value after its first step."""
        look, end = self._first, self._first.end
        if not end.was_asked and end.status is not Status.OK:
            reason = reason_text(end.reason).rstrip(".")
            if before := " | ".join(end.last_lines[-4:-1]):
                reason += f" (before it: {before})"
            raise WorkloadError(f"the command failed: {reason}")
        if look.trained:
            return
        complaint = look.progress.complaint()
        if complaint is None:
            complaint = f"{self._command.metric} was printed only before the first step"
        if look.progress.names and look.needs_examples:
            complaint += ". Give --examples too, such as --examples 50000"
        if not look.readings and look.is_cut:
            complaint = _SILENCE.format(seconds=look.took_s)
        when = "before it ended"
        if look.is_cut:
            when = f"within {look.took_s:.0f} s"
            complaint = f"{complaint.rstrip('.')}. With a larger --budget it is waited for longer"
        raise WorkloadError(f"the metric was not seen {when}: {complaint}")

    def _refuse_another_size(self, examples: Span) -> None:
        """Raise if the printed counters contradict the batch size or the number of examples."""
        contradiction = self._first.contradiction(examples)
        if contradiction is None:
            return
        hint = ""
        if fixed := self._set(MULTIPLIERS):
            hint = f". The command fixes {fixed}: give 1"
        raise OtherBatchSizeError(
            f"the command does not train with the batch size {self._command.batch_size} that it "
            f"is given: {contradiction}. Make it use this batch size, or correct --examples; if "
            f"it accumulates gradients or runs on several devices, give {{micro_batch_size}} and "
            f"{{accumulation_steps}}, or {{world_size}} with --devices; if its epochs are not "
            f"passes over the data, read only its steps with --pattern{hint}"
        )

    def _ask_about_longer_epochs(self, examples: Span) -> None:
        """Raise or warn if epochs seem to be a fixed number of steps, not passes over the data."""
        if not self._first.counts_only_epochs:
            return
        size = self._far_sizes(examples)[0]
        other = self._untrained(size, "whether its epochs are passes over the data")
        if other is None:
            return
        small, large = sorted((self._first, other), key=lambda look: look.trial.batch_size)
        times = large.epoch_s[0] / small.epoch_s[1]
        if times < _LONGER_EPOCH:
            return
        longer = (
            f"an epoch takes at least {times:.1f} times as long with batch size "
            f"{large.trial.batch_size} as with {small.trial.batch_size}: it may have as many steps "
            f"at every batch size"
        )
        if self._command.examples is None:
            raise UsageError(
                f"{longer}. Then have the script count its steps, as in batchlab.log(step=step, "
                f"{plain_name(self._command.metric)}=...). If each is a pass over the data, say so "
                f"with --examples, the number of training examples"
            )
        self._warn(f"{longer}, and equal epochs are not equal numbers of examples then")

    # ---- proof

    def _proven(self, examples: Span) -> Span:
        """Raise if a flag has no effect; return bounds on the number of training examples."""
        command, trial = self._command, self._first.trial
        again = self._compared("like the first", trial, has_losses)
        compared = LookComparison(self._first, again)
        if again is not None:
            self._compare_chance(compared)
        other_size = 2 * trial.batch_size
        if other_size > examples[0]:
            other_size = max(1, trial.batch_size // 2)
        others = {
            "seed": replace(trial, seed=1),
            "learning_rate": replace(trial, learning_rate=trial.learning_rate / _RATE_FACTOR),
            "batch_size": command.own_trial(other_size),
        }
        unproven = []
        for flag, other in others.items():
            if flag == "batch_size":
                # Do not end this run at the first difference from the first run: its epochs also
                # show how many training examples there are.
                look = self._compared(_ANOTHER_SIZE, other)
            elif command.takes(flag):
                what = f"with another {flag.replace('_', ' ')}"
                look = self._compared(what, other, compared.acts)
            else:
                continue
            acts = look is None or compared.acts(look)
            if acts is False and self._differ_later(trial, other):
                # It is unclear whether the flag has an effect: the numbers differ only after many
                # steps, when even runs with equal flags may differ.
                acts = None
            if acts is None:
                unproven.append(f"{{{flag}}}")
            if acts is False:
                or_not = ", or leave {seed} out" if flag == "seed" else ""
                raise UsageError(
                    f"{{{flag}}} does not act: {getattr(trial, flag):.10g} and "
                    f"{getattr(other, flag):.10g} gave the same numbers. Have the script use the "
                    f"value that it is given{or_not}"
                )
        if unproven:
            self._warn(
                f"the beginnings of trainings do not show whether {listing(unproven)} had an "
                f"effect: their numbers differ by themselves, only later, or not at all"
            )
        if look is None:
            return examples
        return self._examples_of_both(look, examples)

    def _compare_chance(self, compared: LookComparison) -> None:
        """Raise if the command has no {seed} and two runs print equal numbers: its seed is fixed.

        If the command has {seed}, warn if two runs with an equal seed print different numbers.
        """
        if self._command.takes("seed"):
            if not compared.is_repeatable:
                self._warn(
                    "the same command with the same seed does not give the same numbers; the "
                    "scatter that this adds is part of every interval"
                )
        elif compared.is_repeatable and compared.is_telling:
            raise UsageError(
                "two runs of the command gave the same numbers and it has no {seed}, so it is not "
                "known how much of a difference is chance; put {seed} where your script takes its "
                "seed, such as --seed {seed}"
            )

    def _differ_later(self, own: Trial, other: Trial) -> bool:
        """Return whether longer check runs of two trials print different numbers.

        A flag may have no effect at first, such as a batch size to which batches grow gradually.
        """
        n_readings = _READ_FURTHER * len(self._first.readings)

        def is_far(look: Look) -> bool:
            return len(look.readings) >= n_readings

        what, always = "reading further", -math.inf
        mine = self._other(what, own, is_far, least_s=always, question="")
        others = self._other(what, other, is_far, least_s=always, question="")
        return bool(mine and others and LookComparison(mine, None).acts(others))

    def _refuse_a_metric_of_the_batch(self, examples: Span) -> None:
        """Raise if the metric of an untrained model depends on the batch size."""
        now, metric = self._command.batch_size, self._command.metric
        question = f"whether {metric} depends on the batch size itself"
        if not self._command.takes("learning_rate"):
            self._warn(f"without {{learning_rate}} it is not checked {question}")
            return
        if len(self._first.trained) < VALUES:
            return
        far = self._far_sizes(examples)
        if len(far) < len(_SIZE_FACTORS):  # The comparison needs two other batch sizes.
            self._unchecked.setdefault(question)
            return
        values: dict[int, list[float]] = {}
        # The first two sizes show whether the metric changes with the size; the third confirms it.
        for size in (now, *far):
            look = self._untrained(size, question)
            if look is None:
                return
            values[size] = look.trained
            if size != now and not follows_size(values):
                return
        levels = [f"{values[size][0]:.4g} with batch size {size}" for size in sorted(values)]
        raise UsageError(
            f"{metric} depends on the batch size itself: with a learning rate near "
            f"0, so of a model that does not train, it is {listing(levels)}. Batch sizes can't be "
            f"compared by it. Have the script print its mean over all examples, not a sum over "
            f"batches, and evaluate with the same batch size every time; or name another metric"
        )

    def _far_sizes(self, examples: Span) -> list[int]:
        now, (far, near) = self._command.batch_size, _SIZE_FACTORS
        if now * far <= examples[0]:
            return [now * far, now * near]
        return list(dict.fromkeys((max(1, now // far), max(1, now // near))))

    def _warn_of_sizes(self) -> None:
        """Warn if steps may not have the given batch size, or not the given learning rate."""
        command, first = self._command, self._first
        # Printed steps do not show whether each step trains on one batch or several, so warn.
        if fixed := self._set(MULTIPLIERS):
            self._warn(
                f"the command fixes {fixed}: if a step of it adds up several batches of "
                f"{{batch_size}}, its true batch size is as many times larger; give "
                f"{{micro_batch_size}} and {{accumulation_steps}} then"
            )
        if command.grows and not any(reading.samples for reading in first.readings):
            self._warn(
                f"the command has {self._set(RAMP_UPS)}: if its batch grows to {{batch_size}} "
                f"during the training, it sees fewer examples than are counted here (steps times "
                f"{{batch_size}}); make it print the samples seen"
            )
        now, rate, printed = command.batch_size, first.trial.learning_rate, first.printed_rate
        for look in self.looks:
            is_other = look.trial.batch_size != now and look.trial.learning_rate == rate
            if not is_other or printed is None or look.printed_rate is None:
                continue
            if not math.isclose(printed, look.printed_rate, rel_tol=ROUNDING):
                self._warn(
                    f"the script does not train with the learning rate that it is given: it prints "
                    f"{printed:g} for {rate:g} with batch size {now}, and another multiple with "
                    f"{look.trial.batch_size}; the learning rates here are those that it is given"
                )

    # ---- examples

    def _examples(self) -> Span:
        """Return bounds on the number of training examples, which is given, printed or assumed."""
        first, n = self._first, self._command.examples
        if n is not None:
            return n, n
        examples = first.examples
        if examples is None and first.within_epochs:
            doubled = self._command.own_trial(2 * self._command.batch_size)
            look = self._compared(_ANOTHER_SIZE, doubled)
            if look is None:
                trouble = self._no_time_text() if self._unchecked else [*self._warnings][-1]
                raise UsageError(f"{_NO_EXAMPLES}: {trouble}. Or {_GIVE_EXAMPLES}")
            examples = first.examples_beside(look)
        if examples is not None:
            return examples
        if first.needs_examples:
            raise UsageError(
                f"{_NO_EXAMPLES}: its progress does not count both epochs and steps; "
                f"{_GIVE_EXAMPLES}"
            )
        assumed, unit = self._command.assumed_examples, self._command.unit
        counts = f"no epochs: {assumed} {unit} are called one here, so numbers of epochs"
        if first.counts_only_epochs:
            counts = (
                f"only epochs: each is taken for one pass over {assumed} {unit}, so numbers "
                f"of steps, their times and {unit} a second"
            )
        self._warn(
            f"its progress counts {counts} are off by about one factor at all batch sizes; "
            f"--examples gives the true number"
        )
        return assumed, assumed

    def _examples_of_both(self, other: Look, examples: Span) -> Span:
        """Return bounds on the number of training examples that fit the first and the other run.

        Raise if the two runs, which have different batch sizes, contradict each other.
        """
        now, size = self._command.batch_size, other.trial.batch_size
        one, two = self._first.examples, other.examples
        if one is None or two is None or size == now:
            return examples
        if self._command.examples is not None:
            if one[1] / now == two[1] / size:
                self._warn(
                    f"an epoch has {one[1] / now:g} steps with batch size {now} and with {size} "
                    f"alike: {{batch_size}} does not shape its epochs, or its progress comes "
                    f"before their ends"
                )
            return examples
        if both := common_span(one, two):
            return both
        # The numbers of examples that the two runs allow may differ by one batch, because a script
        # may drop the last batch of each epoch.
        is_near = max(one[0], two[0]) - min(one[1], two[1]) <= max(size, now)
        if is_near or self._command.has_limit:
            return one
        # The runs contradict each other, perhaps because no epoch ended: a script that prints every
        # 50 steps seems to have epochs of 50 steps. So ask the user.
        raise UsageError(
            f"{_NO_EXAMPLES}: an epoch seems to have {one[1]} with batch size {now}, and {two[1]} "
            f"with {size}; if it has as many steps at every batch size, log them with "
            f"batchlab.log, else {_GIVE_EXAMPLES}"
        )
