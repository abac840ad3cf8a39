"""Effects: what batch size does to a training, as far as the runs of an advice show it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.report.advice.epochs_to_target import EpochsToTarget, epochs_to_target
from batchlab.report.advice.whole_trainings import WholeTrainings, whole_trainings
from batchlab.report.parts.effect import Effect
from batchlab.report.parts.held_out import final_gaps, held_out_split
from batchlab.report.parts.plateaus import plateaus_of


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
