"""AdviceDocument: what `batchlab advise --json` prints and `Advice.to_dict` gives.

It is described by docs/schema/advise.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from batchlab.advice.parts import (
    Candidate,
    Configuration,
    Ending,
    Endings,
    Expected,
    HeadToHead,
    Laws,
    RateTried,
    Step,
    TargetAnswer,
)
from batchlab.records.estimate import Estimate
from batchlab.records.json_document import SCHEMA
from batchlab.records.reason import Reason
from batchlab.records.study import Study
from batchlab.records.target import Target
from batchlab.records.workload_document import WorkloadDocument, workload_document
from batchlab.version import __version__
from batchlab.words.document import document_text, plain

if TYPE_CHECKING:
    from batchlab.advice.advice import Advice


class ConfigurationDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What to set in a training script.

    `cool_down` is the last part of the training over which the rate falls linearly to zero.
    """

    batch_size: int
    micro_batch_size: int
    accumulation_steps: int
    learning_rate: float
    cool_down: float


class EndQualityDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Where whole trainings end; `trainings` holds every one of them, the recommendation's first.

    The estimates are means over the seeds of the validation metric, `difference` is how much
    better the recommendation ends than the better of the references. Where all had a cool-down,
    `at_constant_rate` is the same without it.
    """

    metric: str
    recommended: Estimate
    reference: Estimate
    reference_tuned: Estimate | None
    difference: Estimate
    margin: float
    verdict: str
    reason: Reason
    seeds: tuple[int, ...]
    trainings: tuple[Ending, ...]
    at_constant_rate: EndQualityDocument | None


class AdviceDocument(msgspec.Struct, frozen=True, kw_only=True):
    """An advice; what its fields mean is said at `batchlab.Advice`, whose names they have.

    `trials` are its `tried`. The fields from `command_line` to `report` say where it is from;
    `Advice.to_dict()` does not know that, and there they are null.
    """

    schema: int
    command: str
    batchlab: str
    command_line: str | None
    study: str | None
    workload: WorkloadDocument | None
    environment: dict[str, str] | None
    store: str | None
    report: str | None
    verdict: str
    reason: Reason
    objective: str
    at_most_worse: float | None
    metric: str
    better: str
    target: Target | None
    target_origin: str
    delta: float
    recommendation: ConfigurationDocument | None
    provisional: ConfigurationDocument | None
    flat_set: tuple[int, ...]
    expected: Expected | None
    gain: Estimate
    gain_from_batch_size: Estimate
    reference: ConfigurationDocument
    reference_tuned: ConfigurationDocument | None
    stand_in_for: int | None
    candidates: tuple[Candidate, ...]
    laws: Laws | None
    head_to_head: HeadToHead | None
    end_quality: EndQualityDocument | None
    other_targets: tuple[TargetAnswer, ...]
    missing: Reason | None
    more_budget_s: float | None
    proposed_target: Target | None
    caveats: tuple[Reason, ...]
    steps: tuple[Step, ...]
    trials: tuple[RateTried, ...]
    n_trials: int
    spent_s: float
    budget_s: float
    trainings: float | None
    pay_back_runs: float | None


def advice_document(advice: Advice, study: Study, *, store: Path, report: Path | None) -> str:
    """The advice as one JSON document; times in seconds, memory in bytes, unknown is null."""
    document = msgspec.structs.replace(
        _document(advice),
        command_line=study.command,
        study=study.study_id,
        workload=workload_document(study),
        environment=dict(study.environment),
        store=str(store),
        report=None if report is None else str(report),
    )
    return document_text(document)


def advice_dict(advice: Advice) -> dict[str, Any]:
    """The same document as plain dicts, lists and numbers, without where it is from."""
    made: dict[str, Any] = plain(_document(advice))
    return made


def _document(advice: Advice) -> AdviceDocument:
    return AdviceDocument(
        schema=SCHEMA,
        command="advise",
        batchlab=__version__,
        command_line=None,
        study=None,
        workload=None,
        environment=None,
        store=None,
        report=None,
        verdict=advice.verdict,
        reason=advice.reason,
        objective=advice.objective,
        at_most_worse=_at_most_worse(advice),
        metric=advice.metric,
        better=advice.better,
        target=advice.target,
        target_origin=advice.target_origin,
        delta=advice.delta,
        recommendation=_configuration(advice.recommendation),
        provisional=_configuration(advice.provisional),
        flat_set=advice.flat_set,
        expected=advice.expected,
        gain=advice.gain,
        gain_from_batch_size=advice.gain_from_batch_size,
        reference=_described(advice.reference),
        reference_tuned=_configuration(advice.reference_tuned),
        stand_in_for=advice.stand_in_for,
        candidates=advice.candidates,
        laws=advice.laws,
        head_to_head=advice.head_to_head,
        end_quality=None if advice.endings is None else _end_quality(advice.endings),
        other_targets=advice.other_targets,
        missing=advice.missing,
        more_budget_s=advice.more_budget_s,
        proposed_target=advice.proposed_target,
        caveats=advice.caveats,
        steps=advice.steps,
        trials=advice.tried,
        n_trials=advice.n_trials,
        spent_s=advice.spent_s,
        budget_s=advice.budget_s,
        trainings=advice.trainings,
        pay_back_runs=advice.pay_back_runs,
    )


def _end_quality(endings: Endings) -> EndQualityDocument:
    constant = endings.at_constant_rate
    return EndQualityDocument(
        metric=endings.metric,
        recommended=_end(endings.recommended),
        reference=_end(endings.reference),
        reference_tuned=None if endings.reference_tuned is None else _end(endings.reference_tuned),
        difference=endings.difference,
        margin=endings.margin,
        verdict=endings.verdict,
        reason=endings.reason,
        seeds=endings.seeds,
        trainings=(endings.recommended, *endings.references),
        at_constant_rate=None if constant is None else _end_quality(constant),
    )


def _end(ending: Ending) -> Estimate:
    """The mean end; what is known of its scatter is in the difference."""
    if not ending.found:
        return Estimate.cannot_tell(Reason.of("no_whole_training"))
    return Estimate.of(ending.mean, interval=(None, None), n=len(ending.found))


def _at_most_worse(advice: Advice) -> float | None:
    """By how much what is named may be worse than the best, a fraction; None: not known."""
    named = advice.named
    candidate = None if named is None else advice.candidate(named.batch_size)
    high = None if candidate is None else candidate.relative.high
    return None if high is None else high - 1


def _configuration(found: Configuration | None) -> ConfigurationDocument | None:
    return None if found is None else _described(found)


def _described(found: Configuration) -> ConfigurationDocument:
    return ConfigurationDocument(
        batch_size=found.batch_size,
        micro_batch_size=found.micro_batch_size,
        accumulation_steps=found.accumulation_steps,
        learning_rate=found.learning_rate,
        cool_down=found.cool_down,
    )
