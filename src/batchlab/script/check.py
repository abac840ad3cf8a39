"""CommandCheck: the check, before any budget is spent, that a command trains and its flags act."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from batchlab.errors import (
    BatchSizeError,
    OtherBatchSizeError,
    ProgressError,
    UsageError,
    WorkloadError,
)
from batchlab.records.estimate import Reason
from batchlab.records.study import MetricSummary, WorkloadSummary
from batchlab.records.trial import Status, Trial
from batchlab.script.command import TrainingCommand
from batchlab.script.flags import MULTIPLIERS, RAMP_UPS, STEPS_OF_EPOCH, flags_set
from batchlab.script.look import (
    ROUNDING,
    VALUES,
    Enough,
    Look,
    LookComparison,
    Span,
    has_losses,
)
from batchlab.script.metric import MetricPoint, follows_size, moves_with_steps, plain_name
from batchlab.words.catalogue import listing
from batchlab.words.reasons import reason_text

ONCE_AT_END = (
    "the metric is printed once, at the end of a training: nothing shows how long it takes to a "
    "target, and only final values can be compared"
)
"""The warning about a metric that a training without a given length prints once."""

# A command without {learning_rate} uses a rate of its own, which is the same in all trials.
_NO_RATE = 1.0
_SILENCE = (
    "The script runs, and has shown no progress for {seconds:.0f} s. It may still import its "
    "libraries or read its data, or keep its output in a buffer. PYTHONUNBUFFERED=1 is set, which "
    "helps where Python prints. Elsewhere try python -u, print(..., flush=True), or stdbuf -oL "
    "before the command."
)
# Dividing the rate by this much shows in any curve that depends on the rate.
_RATE_FACTOR = 8.0
# A pass over the data takes this many times as long with larger batches only if its steps compare
# all pairs of a batch, or the like.
_LONGER_EPOCH = 2.0
_TIMED_S = 1.0  # the epochs of a batch size are timed for this long, or until they end
# Nothing is trained with the rate times this, so the metric stays that of the untrained model.
_NO_TRAINING = 1e-6
# How much larger or smaller the batches are with which the metric of that model is compared.
_SIZE_FACTORS = (8, 4)
# The first look waits longest, because the first start, with empty caches, is the slowest.
_FIRST_SHARE = 0.5
_PROOF_SHARE = 0.4  # for all other looks together, which is a tenth of a budget
_ANOTHER_SIZE = "with another batch size"
_NO_EXAMPLES = "how many training examples there are is not known"


class CommandCheck:
    """The check of one command, by running its beginning with several values."""

    def __init__(
        self,
        command: TrainingCommand,
        *,
        workload_id: str,
        folder: Path,
        limit_s: float,
        left_s: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        """Prepare the check without running anything.

        The whole check may take `limit_s` seconds; `left_s` returns what is left of the budget.
        """
        self._command = command
        self._workload_id = workload_id
        self._folder = folder
        self._limit_s = limit_s
        self._left_s = left_s
        self._tell = tell
        self._spent_s = 0.0
        self._warnings: list[str] = []
        self._unchecked: list[str] = []  # what there was no time for
        self._looks: dict[object, Look | None] = {}  # by the values that were changed
        self.looks: list[Look] = []  # all that were run, in order

    def summary(self, *, proves: bool) -> WorkloadSummary:
        """Run the beginnings and return the findings; oddities and open questions become warnings.

        Raises:
            WorkloadError: it does not train, or its metric is never seen.
            UsageError: a flag does not act, or the number of examples is not known.
            ProgressError: its progress contradicts itself.
        """
        command = self._command
        share = _FIRST_SHARE if proves else 1.0
        first = self._looked(self._now_text(), {}, share * self._limit_s, _has_timed_epochs)
        self._refuse_what_cannot_be_followed(first)
        fewest, most = span = self._examples(first)
        self._refuse_another_size(first, span)
        if command.batch_size > most:
            raise BatchSizeError(
                f"batch size {command.batch_size} of this command: expected 1 to {most}, the "
                f"size of its training set; give --batch-size, the one you train with now"
            )
        if proves:
            self._limit_s = min(self._limit_s, self._spent_s + _PROOF_SHARE * self._limit_s)
        self._ask_about_longer_epochs(first, span)
        if proves:
            fewest, most = self._proven(first, span)
        if self._unchecked:
            self._warnings.append(self._no_time_text())
        if fewest < most:
            self._warnings.append(
                f"there are {fewest} to {most} training examples, by the steps of an epoch; "
                f"{fewest} is taken, and --examples gives the exact number"
            )
        # If only steps are printed, nothing shows whether each of them is one batch.
        if fixed := self._set(MULTIPLIERS):
            self._warnings.append(
                f"the command fixes {fixed}: if a step of it adds up several batches of "
                f"{{batch_size}}, its true batch size is as many times larger; give "
                f"{{micro_batch_size}} and {{accumulation_steps}} then"
            )
        has_samples = any(each.samples for each in first.readings)
        if command.grows and not has_samples:
            self._warnings.append(
                f"the command has {self._set(RAMP_UPS)}: if its batch grows to {{batch_size}} "
                f"along a training, it sees fewer examples than steps times {{batch_size}}, which "
                f"are counted here; have it print the samples seen"
            )
        if first.is_whole and len(first.trained) == 1 and not command.spans_a_length:
            self._warnings.append(ONCE_AT_END)
        if flag := command.token_flag:
            self._warnings.append(
                f"{{batch_size}} is what {flag} takes, so all that is said of batch sizes and "
                f"examples counts tokens"
            )
        if scaled := self._scaled_rate(first):
            self._warnings.append(scaled)
        if first.progress.not_understood:
            values = ", ".join(first.progress.not_understood)
            self._warnings.append(reason_text(Reason.of("log_not_understood", values=values)))
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
            learning_rate=command.learning_rate or _NO_RATE,
            warnings=tuple(self._warnings),
            start_s=first.start_s,
            takes_rate=command.takes("learning_rate"),
        )

    def _no_time_text(self) -> str:
        unchecked = listing(self._unchecked)
        return (
            f"there was no time to check {unchecked}; it needs a larger --budget and a new --store"
        )

    def _now_text(self) -> str:
        now = f"as you train now, at batch size {self._command.batch_size}"
        rate = self._command.learning_rate
        return now if rate is None else f"{now} and learning rate {rate:g}"

    # ---- beginnings

    def begun(self) -> Look:
        """Return the beginning of a training with the values that the user trains with now.

        Raises:
            ProgressError: its progress contradicts itself.
        """
        return self._looked(self._now_text(), {}, self._limit_s)

    def _looked(
        self,
        what: str,
        changed: dict[str, float],
        limit_s: float,
        is_enough: Enough = Look.has_trained,
    ) -> Look:
        self._tell(f"checking the command: {what}")
        command = self._command
        size = changed.get("batch_size", command.batch_size)
        trial = Trial(
            workload_id=command.name,
            workload=command.name,
            n_train=command.examples or int(size),  # a stand-in while the number is not known
            batch_size=int(size),
            learning_rate=changed.get("learning_rate", command.learning_rate or _NO_RATE),
            seed=int(changed.get("seed", 0)),
            world_size=command.devices,
        )
        look = Look(command, trial)
        look.run(
            is_enough,
            folder=self._folder / str(len(self.looks)),
            marker=f"{self._workload_id}/check",
            limit_s=max(1.0, min(limit_s, self._left_s())),
        )
        self._spent_s += look.took_s
        self.looks.append(look)
        return look

    def _compared(
        self,
        what: str,
        changed: dict[str, float],
        first: Look,
        is_enough: Enough | None = None,
    ) -> Look | None:
        """Return another beginning, as long as the first or until `is_enough`, run only once.

        The result is None if there was no time for it, or if it failed.
        """
        key = tuple(changed.items())
        if key not in self._looks:
            self._looks[key] = None
            left_s = self._limit_s - self._spent_s
            if left_s < (first.took_s if is_enough is None else first.start_s or 0.0):
                self._unchecked.append(f"a run {what}")
                return None
            shown = is_enough or (lambda look: False)
            limit_s = min(left_s, 3 * first.took_s + 5.0)
            look = self._looked(
                what, changed, limit_s, lambda look: look.has_trained() or shown(look)
            )
            given = self._command.examples
            contradiction = given and self._contradiction(look, (given, given))
            if (look.trained or shown(look)) and not contradiction:
                self._looks[key] = look
            else:
                why = contradiction and f"it does not train with it: {contradiction}"
                why = why or "its metric was not seen in time"
                if not look.end.was_asked and look.end.reason is not None:
                    why = reason_text(look.end.reason).rstrip(".")
                self._warnings.append(f"the command could not be checked {what}: {why}")
        return self._looks[key]

    def _contradiction(self, look: Look, examples: Span) -> str | None:
        return look.contradiction(examples, is_limit=self._command.has_limit)

    def _at_another_size(self, size: int, first: Look) -> Look | None:
        return self._compared(_ANOTHER_SIZE, {"batch_size": size}, first)

    def _refuse_another_size(self, look: Look, examples: Span) -> None:
        """Refuse a command that trains with another batch size, or a wrong number of examples."""
        contradiction = self._contradiction(look, examples)
        if contradiction is None:
            return
        fixed, length = self._set(MULTIPLIERS), self._set(STEPS_OF_EPOCH)
        hint = f". The command fixes {fixed}: give 1" if fixed else ""
        hint += f". Its epochs have a fixed length by {length}" if length else ""
        own, one, (given, _) = look.trial.batch_size, look.examples, examples
        if one and not one[0] <= given <= one[1]:
            two = self._looked(_ANOTHER_SIZE, {"batch_size": 2 * own}, self._limit_s).examples
            if two and max(one[0], two[0]) <= min(one[1], two[1]):
                raise UsageError(
                    f"--examples {given}: by its progress an epoch has {one[0]} to {one[1]} "
                    f"examples with batch size {own}, and {two[0]} to {two[1]} with {2 * own}; "
                    f"give their number, or, where a step is more than one batch of "
                    f"{{batch_size}}, {{micro_batch_size}} and {{accumulation_steps}}{hint}"
                )
        raise OtherBatchSizeError(
            f"the command does not train with the batch size {own} that it is given: "
            f"{contradiction}. Have it use that one; where it accumulates gradients or runs "
            f"on several devices, give {{micro_batch_size}} and {{accumulation_steps}}, or "
            f"{{world_size}} with --devices; where its "
            f"epochs are no passes over the data, have --pattern read its steps alone{hint}"
        )

    def _set(self, names: Sequence[str]) -> str:
        """Return those of the flags that the command or its code sets to more than 1."""
        return " and ".join(flags_set(self._command.arguments, self._command.place, names))

    def _refuse_what_cannot_be_followed(self, look: Look) -> None:
        """Refuse a command that cannot be run, or whose metric was never seen after a step."""
        end = look.end
        if not end.was_asked and end.status is not Status.OK:
            said = " | ".join(end.last_lines[-4:-1])
            before = f" (before it: {said})" if said else ""
            raise WorkloadError(
                f"the command failed: {reason_text(end.reason).rstrip('.')}{before}"
            )
        if look.trained:
            return
        when = f"within {look.took_s:.0f} s" if look.is_cut else "before it ended"
        complaint = look.progress.complaint()
        if complaint is None:
            complaint = f"{self._command.metric} was told before the first step alone"
        if look.progress.names and look.needs_examples:
            complaint += ". Give --examples too, such as --examples 50000"
        if not look.readings and look.is_cut:
            complaint = _SILENCE.format(seconds=look.took_s)
        if end.left_behind is not None:
            complaint = reason_text(end.left_behind)
        if look.is_cut:
            complaint = f"{complaint.rstrip('.')}. With a larger --budget it is waited for longer"
        raise WorkloadError(f"the metric was not seen {when}: {complaint}")

    # ---- proof

    def _proven(self, first: Look, examples: Span) -> Span:
        """Prove that the flags act, and return the fewest and the most examples."""
        has_seed, own = self._command.takes("seed"), self._command.batch_size
        self._refuse_a_metric_of_the_batch(first, examples)
        again = self._compared("like the first", {}, first, has_losses)
        compared = LookComparison(first, again)
        if again is not None and not has_seed and compared.is_repeatable and compared.is_telling:
            raise UsageError(
                "two runs of the command gave the same numbers and it has no {seed}, so it "
                "cannot be told how much is chance; put {seed} where your script takes its "
                "seed, such as --seed {seed}"
            )
        if again is not None and not compared.is_repeatable and has_seed:
            self._warnings.append(
                "the same command with the same seed does not give the same numbers; the scatter "
                "that this adds is part of every interval"
            )
        other_size = 2 * own if 2 * own <= examples[0] else max(1, own // 2)
        unproven = []
        for flag, what, changed, text in self._questions(other_size):
            # The look at another batch size also compares epochs, so it is not ended early.
            is_enough = None if flag == "batch_size" else compared.differs
            look = self._compared(what, changed, first, is_enough)
            acts = True if look is None else compared.acts(look)
            if acts is False:
                raise UsageError(f"{{{flag}}} does not act: {text}")
            if acts is None:
                unproven.append(f"{{{flag}}}")
        if unproven:
            self._warnings.append(_unproven_text(unproven, compared))
        other = self._at_another_size(other_size, first)
        return examples if other is None else self._examples_of_both(first, other, examples)

    def _questions(self, other_size: int) -> list[tuple[str, str, dict[str, float], str]]:
        """Return a row per flag: its name, that of its look, the changes, the text if it fails."""
        own, rate = self._command.batch_size, self._command.learning_rate or _NO_RATE
        other = rate / _RATE_FACTOR
        asked: list[tuple[str, str, dict[str, float], str]] = [
            (
                "seed",
                "with another seed",
                {"seed": 1},
                "two seeds gave the same numbers. Have the script seed its weights and the order "
                "of its examples with it, or leave {seed} out",
            ),
            (
                "learning_rate",
                "with another learning rate",
                {"learning_rate": other},
                f"{rate:g} and {other:g} gave the same numbers. Have the script use the rate that "
                f"it is given",
            ),
            (
                "batch_size",
                _ANOTHER_SIZE,
                {"batch_size": other_size},
                f"{own} and {other_size} gave the same numbers. Have the script use the batch size "
                f"that it is given",
            ),
        ]
        takes = self._command.takes
        return [row for row in asked if takes(row[0]) or row[0] == "batch_size"]

    def _ask_about_longer_epochs(self, first: Look, examples: Span) -> None:
        """Ask about epochs that take longer with larger batches, and may be no passes then."""
        if not first.counts_only_epochs:
            return
        size = self._far_sizes(examples)[0]
        other = self._untrained(size, first)
        if other is None:
            self._unchecked.append("whether its epochs are passes over the data")
            return
        small, large = sorted((first, other), key=lambda look: look.trial.batch_size)
        times = large.epoch_s[0] / small.epoch_s[1]
        if times < _LONGER_EPOCH:
            return
        found = (
            f"an epoch takes at least {times:.1f} times as long with batch size "
            f"{large.trial.batch_size} as with {small.trial.batch_size}: it may have as many steps "
            f"at every batch size"
        )
        if self._command.examples is not None:
            self._warnings.append(
                f"{found}, and equal epochs are not equal numbers of examples then"
            )
            return
        raise UsageError(
            f"{found}. Then have the script count its steps, as in batchlab.log(step=step, "
            f"{plain_name(self._command.metric)}=...). If each is a pass over the data, say so "
            f"with --examples, the number of training examples"
        )

    def _refuse_a_metric_of_the_batch(self, first: Look, examples: Span) -> None:
        """Refuse a metric that follows the batch size although nothing is trained."""
        own = self._command.batch_size
        unchecked = f"whether {self._command.metric} depends on the batch size itself"
        if not self._command.takes("learning_rate"):
            self._warnings.append(f"without {{learning_rate}} it is not checked {unchecked}")
            return
        if len(first.trained) < VALUES:
            return
        found: dict[int, list[float]] = {}
        points: list[list[MetricPoint]] = []
        for size in (own, *self._far_sizes(examples)):  # the last confirms what the others show
            look = self._untrained(size, first)
            if look is None:
                self._unchecked.append(unchecked)
                return
            found[size] = [value for value in look.trained if value is not None]
            points.append([point for point in look.progress.points if point.step > 0])
            follows, moves = follows_size(found), moves_with_steps(first.progress.points, points)
            if size != own and not (follows or moves):
                return
        if not follows:
            self._warnings.append(
                f"{self._command.metric} changes by as much in every step of a run that does not "
                f"train (learning rate near 0), as if a weight in it were warmed up by steps, or "
                f"statistics of batches still settled: if it is a weight, batch sizes can't be "
                f"compared by it; print it with its final weight"
            )
            return
        levels = [f"{found[size][0]:.4g} with batch size {size}" for size in sorted(found)]
        raise UsageError(
            f"{self._command.metric} depends on the batch size itself: with a learning rate near "
            f"0, so of a model that does not train, it is {listing(levels)}. Batch sizes can't be "
            f"compared by it. Have the script print its mean over all examples, not a sum over "
            f"batches, and evaluate with the same batch size every time; or name another metric"
        )

    def _far_sizes(self, examples: Span) -> list[int]:
        own = self._command.batch_size
        grows = own * _SIZE_FACTORS[0] <= examples[0]
        return [own * times if grows else own // times for times in _SIZE_FACTORS]

    def _untrained(self, size: int, first: Look) -> Look | None:
        """Return a beginning with a rate near 0, run only once.

        The result is None if there is no such batch size, no time, or no progress to be followed.
        """
        rate = self._command.learning_rate
        changed: dict[str, float] = {"batch_size": size}
        if rate is not None:
            changed["learning_rate"] = rate * _NO_TRAINING
        key = tuple(changed.items())
        limit_s = self._limit_s - self._spent_s
        if key not in self._looks and size and limit_s >= first.took_s:
            self._looks[key] = None
            # A contradiction is reported by the run that trains with that batch size.
            with suppress(ProgressError):
                self._looks[key] = self._looked(
                    f"without training, at batch size {size}", changed, limit_s, _has_timed_epochs
                )
        return self._looks.get(key)

    def _scaled_rate(self, first: Look) -> str | None:
        """Return a warning if it prints rates that depend on the batch size, else None."""
        given, own = first.trial.learning_rate, first.trial.batch_size
        others = [
            look
            for look in self.looks
            if look.trial.batch_size != own and look.trial.learning_rate == given
        ]
        if not others or first.printed_rate is None or others[0].printed_rate is None:
            return None
        factor = others[0].printed_rate / others[0].trial.learning_rate
        if math.isclose(first.printed_rate, factor * given, rel_tol=ROUNDING):
            return None
        return (
            f"the script does not train with the learning rate that it is given: it prints "
            f"{first.printed_rate:g} for {given:g} with batch size {own}, and another multiple "
            f"with {others[0].trial.batch_size}; the learning rates here are those that it is given"
        )

    # ---- examples

    def _examples(self, first: Look) -> Span:
        """Return the given number, or that by the progress, with a second batch size if needed."""
        given = self._command.examples
        found = first.examples if given is None else (given, given)
        if found is None and first.within_epochs:
            look = self._at_another_size(2 * self._command.batch_size, first)
            if look is None:
                why = self._no_time_text() if self._unchecked else self._warnings[-1]
                raise UsageError(
                    f"{_NO_EXAMPLES}: {why}. Or give --examples, such as --examples 50000"
                )
            found = first.examples_beside(look)
        if found is None and not first.needs_examples:
            assumed = self._command.assumed_examples
            found = assumed, assumed
            what = f"no epochs: {assumed} examples are called one here, so numbers of epochs"
            if first.counts_only_epochs:
                what = (
                    f"only epochs: each is taken for one pass over {assumed} examples, so numbers "
                    f"of steps, their times and examples a second"
                )
            self._warnings.append(
                f"its progress counts {what} are off by about one factor at all batch sizes; "
                f"--examples gives the true number"
            )
        if found is None:
            raise UsageError(
                f"{_NO_EXAMPLES}: its progress does not count both epochs and steps; give "
                f"--examples, such as --examples 50000"
            )
        return found

    def _examples_of_both(self, first: Look, other: Look, examples: Span) -> Span:
        """Return the fewest and the most examples that fit the progress at both batch sizes."""
        own, size = first.trial.batch_size, other.trial.batch_size
        one, two = first.examples, other.examples
        if one is None or two is None or size == own:
            return examples
        if self._command.examples is not None:
            if one[1] / own == two[1] / size:
                self._warnings.append(
                    f"an epoch has {one[1] / own:g} steps with batch size {own} and with {size} "
                    f"alike: {{batch_size}} does not shape its epochs, or its progress comes "
                    f"before their ends"
                )
            return examples
        fewest, most = max(one[0], two[0]), min(one[1], two[1])
        if fewest <= most:
            return fewest, most
        is_near = fewest - most <= max(size, own)  # a dropped last batch hides up to a batch
        if is_near or self._command.has_limit:
            return one
        # A script that prints every 50 steps may seem to have epochs of 50 steps.
        raise UsageError(
            f"{_NO_EXAMPLES}: an epoch seems to have {one[1]} with batch size {own}, and {two[1]} "
            f"with {size}; if it has as many steps at every batch size, log them with "
            f"batchlab.log, else give --examples, such as --examples 50000"
        )


def _has_timed_epochs(look: Look) -> bool:
    return look.has_trained(_TIMED_S)


def _unproven_text(flags: list[str], compared: LookComparison) -> str:
    why = "the numbers of two equal beginnings differ by themselves"
    if compared.is_repeatable and compared.is_telling:
        why = "its numbers differ only later than two equal beginnings were compared"
    elif compared.is_repeatable:
        why = "the numbers of all beginnings are the same, and do not change along them"
    named = " and ".join(filter(None, [", ".join(flags[:-1]), flags[-1]]))
    act = "acts" if len(flags) == 1 else "act"
    return f"it could not be proven that {named} {act}: {why}"
