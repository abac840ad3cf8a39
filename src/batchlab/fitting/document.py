"""FitDocument: what `batchlab fit --json` prints, described by docs/schema/fit.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from batchlab.fitting.group_fit import METHOD, AcrossFit, BatchSizeSummary, GroupFit
from batchlab.laws.lack_of_fit import LackOfFit
from batchlab.laws.steps_law import FittedLaw
from batchlab.records.estimate import Estimate
from batchlab.records.json_document import SCHEMA
from batchlab.records.quantities import quantity
from batchlab.version import __version__

if TYPE_CHECKING:
    from batchlab.fitting.fit import PointsFit


class UsedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One run that the fit used; `steps_to_target` null: not reached after `after_steps`."""

    batch_size: int
    steps_to_target: float | None
    after_steps: float
    seed: str | None
    learning_rate: float | None


class ParameterDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of a law; `unit` is empty for a pure number."""

    name: str
    label: str
    unit: str
    value: Estimate


class LawDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One of the laws that were fitted; without a curve there are no residuals."""

    name: str
    formula: str
    parameters: tuple[ParameterDocument, ...]
    residual_sd: float | None
    residuals: tuple[float | None, ...] | None


class GroupDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The law of one group, and every law; residuals of log steps are in the order of `points`."""

    group: dict[str, str]
    n: int
    s_min: Estimate
    e_min: Estimate
    b_crit: Estimate
    exponent: Estimate
    law_holds: bool
    lack_of_fit: LackOfFit
    seed_sd: float | None
    between_sd: float | None
    batch_at_overhead: Estimate
    reference_batch_size: float
    residuals: tuple[float | None, ...]
    laws: tuple[LawDocument, ...]
    points: tuple[UsedPoint, ...]
    batch_sizes: tuple[BatchSizeSummary, ...]


class AcrossDocument(msgspec.Struct, frozen=True, kw_only=True):
    """quantity = coefficient × column^exponent over the groups."""

    quantity: str
    column: str
    group: dict[str, str]
    exponent: Estimate
    coefficient: Estimate
    left_out: int


class FitDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Fits of the law S(B) = s_min (1 + b_crit / B)."""

    schema: int
    command: str
    batchlab: str
    source: str
    method: str
    overhead_fraction: float
    groups: tuple[GroupDocument, ...]
    across: tuple[AcrossDocument, ...] | None


def fit_document(found: PointsFit) -> FitDocument:
    """The document of a fit."""
    return FitDocument(
        schema=SCHEMA,
        command="fit",
        batchlab=__version__,
        source=found.source,
        method=METHOD,
        overhead_fraction=found.overhead_fraction,
        groups=tuple(_group(group) for group in found.groups),
        across=None if found.across is None else tuple(_across(law) for law in found.across),
    )


def _group(group: GroupFit) -> GroupDocument:
    law = group.fit
    return GroupDocument(
        group=dict(group.group),
        n=len(group.points),
        s_min=law.s_min,
        e_min=law.e_min,
        b_crit=law.b_crit,
        exponent=law.exponent,
        law_holds=law.law_holds,
        lack_of_fit=law.lack_of_fit,
        seed_sd=law.seed_sd,
        between_sd=law.between_sd,
        batch_at_overhead=group.batch_at_overhead,
        reference_batch_size=group.reference_batch_size,
        residuals=law.residuals,
        laws=tuple(_law(fitted) for fitted in group.laws),
        points=tuple(
            UsedPoint(
                batch_size=point.observation.batch_size,
                steps_to_target=point.observation.steps,
                after_steps=point.observation.after_steps,
                seed=point.seed,
                learning_rate=point.learning_rate,
            )
            for point in group.points
        ),
        batch_sizes=group.batch_sizes,
    )


def _law(fitted: FittedLaw) -> LawDocument:
    return LawDocument(
        name=fitted.name,
        formula=fitted.law.formula,
        parameters=tuple(
            ParameterDocument(
                name=parameter.name,
                label=parameter.label,
                unit=quantity(parameter.quantity).unit,
                value=value,
            )
            for parameter, value in fitted.estimates
        ),
        residual_sd=fitted.residual_sd,
        residuals=fitted.found.residuals,
    )


def _across(law: AcrossFit) -> AcrossDocument:
    return AcrossDocument(
        quantity=law.quantity,
        column=law.column,
        group=dict(law.group),
        exponent=law.law.exponent,
        coefficient=law.law.coefficient,
        left_out=law.left_out,
    )
