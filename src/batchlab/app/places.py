"""Answers by place: what to use on each kind of machine, and what it costs there to the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from batchlab.advice.advice import PlaceAnswer
from batchlab.app.prices import Prices, is_of, price_at
from batchlab.app.report import Advised, put_advice
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.report.advice_rows import has_rate_of, named_cost
from batchlab.store.store import Store

# How seldom counters of energy move on.
_GPU_TICK_S, _PROCESSOR_TICK_S = 0.1, 0.001


def with_places(
    store: Store,
    advised: Advised,
    others: Sequence[Advised],
    *,
    prices: Prices,
    listener: ProgressListener,
) -> Advised:
    """The first answer, stored with what each kind of machine is told, its study the latest."""
    found = tuple(_answer(each, prices) for each in (advised, *others))
    if not others and not prices and found[0].energy_to_target_j.estimate is None:
        found = ()
    named = ", ".join(each.place for each in found)
    for name in prices:
        if not any(is_of(name, each.place) for each in found):
            listener.warning(f"price of {name!r} fits none of the machines ({named})")
    if found == advised.advice.places:
        return advised
    advice, study = replace(advised.advice, places=found), advised.study
    put_advice(store, study.study_id, advice)
    store.put_study(
        study_id=study.study_id,
        command=study.command,
        workload_id=study.workload.workload_id,
        environment=study.environment,
        trial_ids=store.trial_ids(study.study_id),
        target=study.target,
    )
    return replace(advised, advice=advice)


def _answer(advised: Advised, prices: Prices) -> PlaceAnswer:
    advice, profile = advised.advice, advised.profile
    place = profile.place or profile.device_name
    price, time_s = price_at(place, prices), _time_to_target_s(advised)
    no_price = Estimate.cannot_tell(Reason.of("no_price"))
    return PlaceAnswer(
        place=place,
        verdict=advice.verdict,
        named=advice.named,
        target=advice.target,
        time_to_target_s=time_s,
        price_per_h=price,
        cost_to_target=no_price if price is None else time_s.times(price / 3600),
        energy_to_target_j=_energy_to_target_j(advised, time_s),
        study=advised.study.study_id,
    )


def _energy_to_target_j(advised: Advised, time_s: Estimate) -> Estimate:
    """The time times the power while steps of the named size were timed, give or take a tick."""
    named, profile = advised.advice.named, advised.profile
    point = None if named is None else profile.best_micro_batch(named.batch_size)
    timings = () if point is None else [each for each in point.timings if each.step_j is not None]
    if not timings:
        return Estimate.cannot_tell(Reason.of("no_energy"))
    joules = sum((each.step_j or 0.0) * each.n_steps for each in timings)
    timed_s = sum(sum(each.block_s) for each in timings)
    found = time_s.times(joules / timed_s)
    tick_s = _GPU_TICK_S if profile.device.endswith("cuda") else _PROCESSOR_TICK_S
    off = min(1.0, tick_s * len(timings) / timed_s)
    if found.low is None or found.high is None:
        return found
    return replace(found, low=found.low * (1 - off), high=found.high * (1 + off))


def _time_to_target_s(advised: Advised) -> Estimate:
    """Of what is named, the figure that is shown of it everywhere."""
    advice, named = advised.advice, advised.advice.named
    shown = named_cost(advice) if advice.objective == "time" else None
    if shown is not None and not shown.is_bound:
        return shown.estimate
    candidate = None if named is None else advice.candidate(named.batch_size)
    if shown is None and named and candidate and has_rate_of(candidate, named):
        return candidate.time_to_target_s
    return Estimate.cannot_tell(Reason.of("no_run_to_target"))
