"""Made-up advice: the records an advice would hold if the laws were exactly these.

Nothing here trains or decides well. Steps to target follow S_min (1 + B_crit / B) with a fixed
scatter, step times a knee, tuned rates a power; a test changes one of them, or one field by
`dataclasses.replace`, and says what the words must be then. The product fits the laws.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from tests.reference.made_up import (
    approach,
    made_up_peak,
    made_up_record,
    made_up_study,
    made_up_trial,
)

from batchlab.advice.advice import (
    Advice,
    Believed,
    Candidate,
    Configuration,
    EndingVerdict,
    EndQuality,
    RateTried,
    Step,
)
from batchlab.belief.cell_means import CellMeans
from batchlab.belief.steps_law import StepsLaw
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.study import Study
from batchlab.records.trial import Status, Target, TrialRecord

written = Reason.as_written

N_TRAIN = 4096
SIZES = (16, 32, 64, 128, 256, 512, 1024, 4096)
TARGET = Target(metric="accuracy", value=0.95, better="higher")
S_MIN, B_CRIT = 300.0, 500.0
END = 0.978  # of whole trainings, which take this many epochs
WHOLE_EPOCHS, QUALITY_EPOCHS = 400, 40
PROFILE_S, BUDGET_S = 4.2, 1800.0
MISSED_SHARE = 0.6  # of its steps to the target, after which a run that misses it was stopped


def around(value: float, share: float = 0.05, n: int = 6) -> Estimate:
    """An estimate whose interval reaches `share` of the value to both sides."""
    return Estimate.of(value, interval=(value * (1 - share), value * (1 + share)), n=n)


def law(batch_size: float) -> float:
    """Steps to target of a workload that gains from larger batches up to some hundreds."""
    return S_MIN * (1 + B_CRIT / batch_size)


def flat_machine(batch_size: float) -> float:
    """A step time that is flat to about 1,000 examples and grows after it."""
    return 2e-3 * (1 + (batch_size / 1000) ** 2) ** 0.5


def tuned_rate(batch_size: float) -> float:
    return float(f"{0.05 * (batch_size / 64) ** 0.6:.2g}")


def off_best(batch_size: int, learning_rate: float) -> float:
    """How many times the steps of the best rate another one takes: 2.5 for 64 at 0.01."""
    return float(2 ** (0.245 * math.log2(learning_rate / tuned_rate(batch_size)) ** 2))


def made_up_advice(
    *,
    sizes=SIZES,
    steps=law,
    step_s=flat_machine,
    objective="time",
    spread=0.05,
    scatter=0.03,
    own_rate=0.01,
    reference_misses=False,
    does_not_fit=(),
) -> Advice:
    """The advice of a study in which everything was measured.

    Intervals reach the share `spread` to both sides; log steps of runs scatter by `scatter`.
    What does not fit runs in micro-batches of a quarter.
    """
    reference = Configuration(batch_size=64, micro_batch_size=64, learning_rate=own_rate)
    if objective == "quality":
        steps = _quality_steps
    figure: Callable[[float], float] = {
        "time": lambda size: steps(size) * step_s(size),
        "samples": lambda size: steps(size) * size,
        "quality": lambda size: 0.03 * (1 + (size / 600) ** 0.7),  # a distance
    }[objective]
    figures = {size: figure(size) for size in sizes}
    candidates = tuple(
        _candidate(size, steps(size), step_s(size), figures, spread, fits=size not in does_not_fit)
        for size in sizes
    )
    flat = [c for c in candidates if c.in_flat_set]
    best = flat[-1] if objective == "samples" else min(candidates, key=lambda c: c.cost.estimate)
    tuned = next(c for c in candidates if c.batch_size == reference.batch_size)
    cells = [(size, tuned_rate(size) * 2**octave, 0) for size in sizes for octave in OCTAVES]
    cells += [(size, tuned_rate(size), seed) for size in sizes for seed in (1, 2, 3)]
    for at in (best, tuned, reference):
        cells += [(at.batch_size, at.learning_rate, seed) for seed in (100, 101, 102, 103)]
    missed = reference if reference_misses else None
    runs = tuple(_run(*cell, steps, scatter, missed) for cell in dict.fromkeys(cells))
    if objective == "quality":
        runs = tuple(_of_quality(run, figures[run.batch_size]) for run in runs)
    spent_s = PROFILE_S + _train_s(runs, candidates)
    from_size = around(figures[tuned.batch_size] / figures[best.batch_size], spread, 4)
    gain = from_size.times(off_best(reference.batch_size, reference.learning_rate))
    if reference_misses:
        last = max(run.steps for run in runs if reference.is_same(run))
        low = last * step_s(reference.batch_size) / figures[best.batch_size] / (1 + spread)
        gain = Estimate.cannot_tell(Reason.of("missed_the_level", steps=last), n=4, low=low)
    advice = Advice(
        verdict="recommend",
        reason=Reason.of("best_of_likely_no_worse", size=best.batch_size),
        objective=objective,
        metric="accuracy",
        better="higher",
        n_train=N_TRAIN,
        target=None if objective == "quality" else TARGET,
        target_origin="pilot",
        delta=0.1,
        recommendation=_configuration(best),
        chance=0.97,
        flat_set=tuple(c.batch_size for c in flat),
        gain=gain,
        gain_from_batch_size=from_size,
        reference=reference,
        reference_tuned=_configuration(tuned),
        candidates=candidates,
        laws=None if objective == "quality" else _laws(candidates),
        tried=runs,
        caveats=(
            written("The answer holds for a constant learning rate; a schedule may move it."),
            written("Step times are those of this machine; other machines differ."),
        ),
        steps=tuple(
            Step(spent_s=spent_s, did=written(did), why=written(why))
            for spent_s, did, why in (
                (PROFILE_S, "profiled the batch sizes", "step time and memory decide"),
                (spent_s, "trained each at five learning rates", "each size at its own best"),
            )
        ),
        n_trials=len(runs),
        spent_s=spent_s,
        budget_s=BUDGET_S,
    )
    return with_belief(advice)


def cannot_tell_advice(scatter: float = 0.15) -> Advice:
    """The budget was too small: wide bounds around times that hardly differ, and off the law."""
    advice = made_up_advice(
        steps=lambda b: 2500 * (b / 64) ** -0.4,
        step_s=lambda b: 1.4e-3 * (1 + (b / 200) ** (2 / 3)) ** 1.5,  # it grows from the start
        spread=0.25,
        scatter=scatter,
        own_rate=tuned_rate(64),
    )
    same = Estimate.of(1.0, interval=(1.0, 1.0), n=1)
    return replace(
        advice,
        verdict="cannot_tell",
        reason=Reason.of("nothing_likely_faster"),
        recommendation=None,
        provisional=advice.reference,
        chance=None,
        flat_set=(),
        gain=same,
        gain_from_batch_size=same,
        candidates=tuple(replace(c, in_flat_set=False) for c in advice.candidates),
    )


def nothing_reached_advice() -> Advice:
    """No run reached the target that was given; the best value of all was 95.1 %."""
    advice = cannot_tell_advice(scatter=0.0)
    missed = {"steps_to_target": None, "status": "ok", "best_value": 0.95}
    advice = replace(
        advice,
        reason=Reason.of("none_met", metric="accuracy", value=0.999, best=0.951),
        target=replace(TARGET, value=0.999),
        target_origin="given",
        provisional=None,
        reference_tuned=None,
        candidates=tuple(map(_bounded, advice.candidates)),
        laws=None,
        tried=tuple(replace(run, **missed) for run in advice.tried if run.status != "diverged"),
    )
    return with_belief(advice)


def _bounded(candidate: Candidate) -> Candidate:
    """The candidate if its runs missed the target after the steps that would have met it."""
    why = Reason.of("missed_the_level", steps=round(candidate.steps_to_target.estimate or 0.0))
    bounds = {
        name: Estimate.cannot_tell(why, n=4, low=getattr(candidate, name).estimate)
        for name in ("steps_to_target", "time_to_target_s", "samples_to_target", "cost")
    }
    return replace(candidate, **bounds)


def quality_advice() -> Advice:
    """Whole trainings of equal length, the smallest batch size ending best."""
    ends = _end_quality(QUALITY_EPOCHS, better_by=0.058, verdict="no_worse")
    return replace(made_up_advice(objective="quality"), end_quality=ends)


def likely_advice() -> Advice:
    """Likely better than the reference; which one is the best is open."""
    return replace(made_up_advice(spread=0.2, scatter=0.15), chance=0.87, flat_set=())


def _end_quality(epochs: float, *, better_by: float, verdict: EndingVerdict) -> EndQuality:
    """How trainings of so many epochs end: what is named better than the reference by so much."""
    interval = (better_by - 0.0012, better_by + 0.0012)
    return EndQuality(
        difference=Estimate.of(better_by, interval=interval, n=3),
        margin=0.05 * (1 - END),
        verdict=verdict,
        named_epochs=epochs,
        own_epochs=epochs,
    )


def with_endings(advice: Advice, *, better_by=0.0004, verdict="no_worse") -> Advice:
    """The same advice with whole trainings of what it names and of the reference."""
    ends = {advice.reference_tuned: END - 0.0008, advice.reference: END}
    ends |= {advice.named: END + better_by}
    ends.pop(None, None)
    whole = []
    for (at, end), seed in product(ends.items(), (80, 81, 82)):
        size, rate = at.batch_size, at.learning_rate
        met = advice.candidate(size).steps_to_target.times(off_best(size, rate)).estimate
        steps = WHOLE_EPOCHS * math.ceil(N_TRAIN / size)
        whole.append(_with_end(tried(size, rate=rate, seed=seed, steps=steps, met=met), end))
    runs = (*advice.tried, *whole)
    return with_belief(
        replace(
            advice,
            end_quality=_end_quality(WHOLE_EPOCHS, better_by=better_by, verdict=verdict),
            tried=runs,
            n_trials=len(runs),
            spent_s=advice.spent_s + _train_s(whole, advice.candidates),
        )
    )


def with_belief(advice: Advice) -> Advice:
    """The same advice with what its runs together say of each configuration that is shown."""
    places = [advice.reference, *filter(None, [advice.named]), *advice.candidates]
    seen: dict[tuple[int, float], list[float]] = {
        (at.batch_size, at.learning_rate): [] for at in places
    }
    shown = tuple(seen)
    for run in advice.tried:
        if run.end is not None:
            seen.setdefault((run.batch_size, run.learning_rate), []).append(run.end)
    means = CellMeans.of(
        list(seen.values()), metric="accuracy", better="higher", n_examples=advice.n_validation
    )
    named = None
    if advice.named:
        named = shown.index((advice.named.batch_size, advice.named.learning_rate))
    no_end = Estimate.cannot_tell(Reason.of("no_whole_training"))
    believed = []
    for i, (size, rate) in enumerate(shown):
        n_seen, better = len(means.cells[i]), no_end
        cost = advice.candidate(size).cost.times(off_best(size, rate))
        if cost.estimate is None:
            cost = Estimate.cannot_tell(Reason.of("nothing_to_compare"))
        end = means.mean(i) if n_seen else around(END - 1e-7 * size, 0.002, 0)
        if advice.target_origin == "given":  # then no end is followed
            end = no_end
        if named is not None and n_seen and len(means.cells[named]):
            better = means.difference(i, named)
        of = {"batch_size": size, "learning_rate": rate, "cost": cost}
        believed.append(Believed(**of, end=end, ends_better_by=better))
    return replace(advice, believed=tuple(believed))


KINDS: dict[str, Callable[[], Advice]] = {
    "recommend": made_up_advice,
    # A few examples fill the machine.
    "alike": lambda: made_up_advice(
        steps=lambda b: 15e4 / b + 2, step_s=lambda b: 2.4e-5 + 3e-5 * b, spread=0.03
    ),
    "likely": likely_advice,
    "cannot_tell": cannot_tell_advice,
    "quality": quality_advice,
    "samples": lambda: made_up_advice(
        objective="samples", steps=lambda b: 500 * (1 + 300 / b), spread=0.03
    ),
    "reference_missed": lambda: made_up_advice(reference_misses=True, does_not_fit=(1024, 4096)),
    # The steps still fall at the largest batch sizes: of B_crit only a bound is known.
    "one_sided": lambda: made_up_advice(steps=lambda b: 200_000 / b - 1),
    "nothing_reached": nothing_reached_advice,
    "ends_no_worse": lambda: with_endings(made_up_advice()),
    "ending_open": lambda: with_endings(likely_advice(), better_by=-0.0006, verdict="open"),
}
# Those whose figures and sentences differ most; scripts/nightly takes all.
KINDS_BY_DAY = ("recommend", "cannot_tell", "ends_no_worse")


def tried(batch_size=64, *, rate=0.1, met=None, **fields: Any) -> RateTried:
    """A run; `met` is the step that met the target."""
    usual = {"seed": 0, "purpose": "search", "steps": 100, "status": "ok", "steps_to_target": met}
    return RateTried(batch_size=batch_size, learning_rate=rate, **(usual | fields))


@lru_cache(maxsize=32)
def advice_study(advice: Advice) -> Study:
    """A study with a record for every run of `advice`, crossing the target where it says so."""
    step_s = {c.batch_size: c.step_s.estimate or 1e-3 for c in advice.candidates}
    return replace(
        made_up_study(batch_sizes=(64,), epochs=1, n_train=N_TRAIN),
        command="batchlab advise made-up --budget 30m",
        records=tuple(
            _record(run, step_s.get(run.batch_size, 1e-3), advice.target) for run in advice.tried
        ),
        target=advice.target,
    )


def _record(run: RateTried, step_s: float, target: Target | None) -> TrialRecord:
    """A record with curves through what the run tells: the step that met the target, or its end."""
    per_epoch = math.ceil(N_TRAIN / run.batch_size)
    level, at, value = run.end or END, run.steps, run.best_value or 0.9
    if run.steps_to_target is not None and target is not None:
        at, value = run.steps_to_target, target.value
    elif run.end is not None:
        value = level - 1e-5
    rate = math.log((level - 0.1) / (level - value)) * per_epoch / at
    curves = {("validation", "accuracy"): approach(level, rate=rate)}
    if run.end is not None:
        fitted = run.end + 0.1 / math.sqrt(run.batch_size)  # larger batches overfit less
        curves["train", "accuracy"] = approach(fitted, rate=rate)
        curves["test", "accuracy"] = approach(run.end_test, rate=rate)
    record = made_up_record(
        trial=made_up_trial(
            batch_size=run.batch_size,
            learning_rate=run.learning_rate,
            seed=run.seed,
            n_train=N_TRAIN,
        ),
        curves=curves,
        epochs=max(1, math.ceil(run.steps / per_epoch)),
        step_s=step_s,
        status=Status(run.status),
        reason=None if Status(run.status).ended_well else "the loss grew a thousandfold",
        target=None if run.purpose == "whole" else target,
    )
    seldom = max(1, len(record.evaluations) // 50)  # a page has to stay small
    return replace(record, evaluations=record.evaluations[::-seldom][::-1])


def _candidate(
    size: int,
    steps: float,
    step_s: float,
    figures: Mapping[int, float],
    spread: float,
    *,
    fits: bool,
) -> Candidate:
    relative = figures[size] / min(figures.values())
    micro = size if fits else size // 4
    return Candidate(
        batch_size=size,
        micro_batch_size=micro,
        fits=fits,
        learning_rate=tuned_rate(size),
        step_s=around(step_s, 0.02, 5),
        steps_to_target=around(steps, spread, 3),
        time_to_target_s=around(steps * step_s, spread, 3),
        samples_to_target=around(steps * size, spread, 3),
        cost=around(figures[size], spread, 3),
        in_flat_set=relative * (1 + spread) <= 1.1 or relative == 1,
        peak_bytes=made_up_peak(micro),
        rule_learning_rates=tuple(
            (rule, tuned_rate(64) * (size / 64) ** power)
            for rule, power in (("none", 0.0), ("linear", 1.0), ("sqrt", 0.5))
        ),
        note=None if fits else written("does not fit whole: run in 4 micro-batches"),
    )


def _configuration(candidate: Candidate) -> Configuration:
    return Configuration(
        batch_size=candidate.batch_size,
        micro_batch_size=candidate.micro_batch_size,
        learning_rate=candidate.learning_rate,
    )


@lru_cache(maxsize=32)
def _laws(candidates: Sequence[Candidate]) -> StepsLaw:
    sizes = [c.batch_size for c in candidates]
    means = [math.log2(c.steps_to_target.estimate or 0.0) for c in candidates]
    half = [(c.steps_to_target.log_half_width or 0.0) / math.log(2) / 1.96 for c in candidates]
    noise = np.random.default_rng(0).standard_normal((400, len(sizes)))
    return StepsLaw.of(np.array(sizes, float), means + half * noise)


# Of rates from the best one; the highest diverges, and the lowest is too low for large batches.
OCTAVES = (-3.0, -1.5, 0.0, 1.5, 3.0)


def _run(
    batch_size: int,
    learning_rate: float,
    seed: int,
    steps: Callable[[float], float],
    scatter: float,
    missed: Configuration | None,
) -> RateTried:
    """A run of a configuration, which misses the target if it is `missed`."""
    rate = float(f"{learning_rate:.3g}")
    octave = math.log2(rate / tuned_rate(batch_size))
    luck = np.random.default_rng([batch_size, seed]).normal(0, scatter)
    taken = steps(batch_size) * off_best(batch_size, rate) * math.exp(luck)
    run = tried(batch_size, rate=rate, seed=seed, steps=round(MISSED_SHARE * taken))
    if octave > 2.9:
        return replace(run, status="diverged", steps=round(0.1 * taken), best_value=0.1)
    if (octave < -2.9 and batch_size >= 256) or (missed is not None and missed.is_same(run)):
        return run
    return replace(run, status="target_reached", steps=round(taken), steps_to_target=taken)


def _quality_steps(batch_size: float) -> int:
    return QUALITY_EPOCHS * math.ceil(N_TRAIN / batch_size)


def _train_s(runs: Sequence[RateTried], candidates: Sequence[Candidate]) -> float:
    step_s = {c.batch_size: c.step_s.estimate or 0.0 for c in candidates}
    return math.fsum(run.steps * step_s[run.batch_size] for run in runs)


def _of_quality(run: RateTried, distance: float) -> RateTried:
    """A whole training instead of the run: so far from perfect at the best rate, else further."""
    if run.status == "diverged":
        return run
    steps, off = _quality_steps(run.batch_size), off_best(run.batch_size, run.learning_rate)
    return _with_end(replace(run, steps=steps, steps_to_target=None), 1 - off * distance)


def _with_end(run: RateTried, end: float) -> RateTried:
    value, test = (end + 0.0006 * (seed % 3 - 1) for seed in (run.seed, run.seed + 1))
    return replace(run, purpose="whole", status="ok", end=value, end_test=test - 0.001)
