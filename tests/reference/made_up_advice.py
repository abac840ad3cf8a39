"""Made-up advice: the records an advice would hold if the laws were exactly these.

Nothing here trains or decides well. Steps to target follow S_min (1 + B_crit / B) with a fixed
scatter, step times a line, tuned rates a power; a test changes one of them, or one field by
`dataclasses.replace`, and says what the words must be then.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from tests.reference.made_up import approach, made_up_record, made_up_study, made_up_trial

from batchlab.advice.advice import (
    Advice,
    Believed,
    Candidate,
    Configuration,
    Ending,
    Endings,
    EndingVerdict,
    Expected,
    Laws,
    Purpose,
    RateTried,
    Step,
)
from batchlab.belief.cell_means import CellMeans
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.study import Study
from batchlab.records.trial import Status, Target, TrialRecord

written = Reason.as_written

N_TRAIN = 4096
SIZES = (16, 32, 64, 128, 256, 512, 1024, 4096)
TARGET = Target(metric="accuracy", value=0.95, better="higher")
UNTOLD = Estimate.cannot_tell(written("no run reached the target"))
S_MIN, B_CRIT = 300.0, 500.0
REFERENCE_FACTOR = 2.5  # the reference's steps as a multiple of those at its tuned rate


def around(value: float, share: float = 0.05, n: int = 6) -> Estimate:
    """An estimate whose interval reaches `share` of the value to both sides."""
    return Estimate.of(value, interval=(value * (1 - share), value * (1 + share)), n=n)


def law(batch_size: float) -> float:
    """Steps to target of a workload that gains from larger batches up to some hundreds."""
    return S_MIN * (1 + B_CRIT / batch_size)


def flat_machine(batch_size: float) -> float:
    """A step time that is flat to about 1,000 examples and grows after it."""
    return 2e-3 * (1 + (batch_size / 1000) ** 2) ** 0.5


def same_time_machine(batch_size: float) -> float:
    """A step time under which every batch size takes the same time to the target."""
    return 4.0 / law(batch_size)


def tuned_rate(batch_size: float) -> float:
    """The best learning rate, growing slower than the linear rule."""
    return float(f"{0.05 * (batch_size / 64) ** 0.6:.2g}")


def made_up_advice(
    *,
    sizes: Sequence[int] = SIZES,
    steps: Callable[[float], float] = law,
    step_s: Callable[[float], float] = flat_machine,
    objective: str = "time",
    spread: float = 0.05,
    scatter: float = 0.03,
    reference: Configuration | None = None,
    reference_misses: bool = False,
    does_not_fit: Sequence[int] = (),
) -> Advice:
    """The advice of a study in which everything was measured.

    Intervals reach the share `spread` to both sides; log steps of runs scatter by `scatter`.
    What does not fit runs in micro-batches of a quarter.
    """
    reference = reference or Configuration(batch_size=64, micro_batch_size=64, learning_rate=0.01)
    figures = {size: _figure(objective, size, steps(size), step_s(size)) for size in sizes}
    least = min(figures.values())
    candidates = tuple(
        _candidate(
            size,
            steps=steps(size),
            step_s=step_s(size),
            figure=figures[size],
            least=least,
            spread=spread,
            fits=size not in does_not_fit,
        )
        for size in sizes
    )
    flat = [c for c in candidates if c.in_flat_set]
    alike = len(flat) == len(candidates)
    best = flat[0] if alike else min(flat, key=lambda c: figures[c.batch_size])
    if objective == "samples" and not alike:
        best = flat[-1]
    recommendation = _configuration(best)
    tuned = next(c for c in candidates if c.batch_size == reference.batch_size)
    gain = REFERENCE_FACTOR * figures[tuned.batch_size] / figures[best.batch_size]
    flat_set = tuple(c.batch_size for c in flat)
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
        recommendation=recommendation,
        chance=0.97,
        flat_set=flat_set,
        expected=_expected(best, spread),
        gain=Estimate.cannot_tell(Reason.of("not_trained"), n=4, low=1.8)
        if reference_misses
        else around(gain, spread, 4),
        gain_from_batch_size=around(
            figures[tuned.batch_size] / figures[best.batch_size], spread, 4
        ),
        reference=reference,
        reference_tuned=_configuration(tuned),
        candidates=candidates,
        laws=_laws(sizes, steps),
        tried=(
            *_tried(sizes, steps, scatter),
            *_further_seeds(recommendation, tuned, reference, steps, reference_misses),
        ),
        caveats=(
            written("The answer holds for a constant learning rate; a schedule may move it."),
            written("Step times are those of this machine; other machines differ."),
        ),
        steps=tuple(
            Step(spent_s=spent_s, did=written(did), why=written(why))
            for spent_s, did, why in (
                (4.2, "profiled 8 batch sizes", "step time and memory decide"),
                (31.0, "ran the reference", "its plateau sets the target"),
                (95.5, "tuned 8 learning rates", "each size at its own best"),
            )
        ),
        n_trials=len(sizes) * 8,
        spent_s=118.4,
        budget_s=300.0,
    )
    return with_belief(advice)


def cannot_tell_advice() -> Advice:
    """The budget was too small: wide bounds, and nothing is likely better than the reference."""
    advice = made_up_advice(spread=0.4, scatter=0.3)
    own = advice.candidate(advice.reference.batch_size)
    assert own is not None
    missing = written("the steps lie further from the law than their scatter explains")
    return replace(
        advice,
        verdict="cannot_tell",
        reason=Reason.of("nothing_likely_better"),
        recommendation=None,
        provisional=advice.reference,
        chance=None,
        flat_set=(),
        expected=_expected(_times(own, REFERENCE_FACTOR), 0.4),
        gain=Estimate.of(1.0, interval=(1.0, 1.0), n=1),
        gain_from_batch_size=around(1 / REFERENCE_FACTOR, 0.4, 4),
        candidates=tuple(replace(c, in_flat_set=False) for c in advice.candidates),
        laws=replace(
            advice.laws,
            s_min=Estimate.cannot_tell(missing),
            e_min=Estimate.cannot_tell(missing),
            b_crit=Estimate.cannot_tell(missing),
            curve=(),
            law_holds=False,
        ),
    )


def _times(candidate: Candidate, times: float) -> Candidate:
    return replace(
        candidate,
        steps_to_target=candidate.steps_to_target.times(times),
        time_to_target_s=candidate.time_to_target_s.times(times),
        samples_to_target=candidate.samples_to_target.times(times),
    )


def nothing_reached_advice() -> Advice:
    """No run reached the target that was given."""
    advice = cannot_tell_advice()
    return replace(
        advice,
        reason=Reason.of("none_met", metric="accuracy", value=0.999, best=0.951),
        target=replace(TARGET, value=0.999),
        target_origin="given",
        provisional=None,
        expected=None,
        candidates=tuple(
            replace(
                c,
                steps_to_target=UNTOLD,
                time_to_target_s=UNTOLD,
                samples_to_target=UNTOLD,
                cost=UNTOLD,
                relative=UNTOLD,
            )
            for c in advice.candidates
        ),
        laws=None,
        tried=tuple(replace(run, steps_to_target=None, status="ok") for run in advice.tried),
    )


def one_sided_advice() -> Advice:
    """B_crit lies above the measured range: a lower bound."""
    advice = made_up_advice(steps=lambda b: 200_000 / b + 2)
    why = Reason.of("steps_still_fall")
    bound = Estimate(estimate=None, low=9000.0, high=None, n=24, reason=why)
    return replace(advice, laws=replace(advice.laws, b_crit=bound, s_min=UNTOLD))


def likely_advice() -> Advice:
    """Likely better than the reference; which one is the best is open."""
    return replace(made_up_advice(spread=0.2, scatter=0.15), chance=0.87, flat_set=())


def ending_at(batch_size: int, learning_rate: float, value: float) -> Ending:
    """Three whole trainings of 16 epochs that end around a validation accuracy."""
    values = (value - 0.0006, value, value + 0.0006)
    return Ending(
        batch_size=batch_size,
        learning_rate=learning_rate,
        epochs=16.0,
        values=values,
        test=tuple(each - 0.001 for each in values),
    )


def ends_beside(
    yours: Ending, mine: Ending, *, better_by: float, half: float, verdict: EndingVerdict
) -> Endings:
    """How `mine` ends beside the reference as it is: better by so much, give or take `half`."""
    return Endings(
        metric="accuracy",
        better="higher",
        seeds=(80, 81, 82),
        named=mine,
        own=yours,
        tuned=None,
        difference=Estimate.of(better_by, interval=(better_by - half, better_by + half), n=3),
        margin=0.05 * (1 - 0.978),
        verdict=verdict,
    )


def with_endings(advice: Advice, *, better_by: float = 0.0004, verdict: str = "no_worse") -> Advice:
    """The same advice with whole trainings of what it names and of the reference."""
    found, reference, tuned = advice.named, advice.reference, advice.reference_tuned
    assert found is not None
    yours = ending_at(reference.batch_size, reference.learning_rate, 0.978)
    mine = ending_at(found.batch_size, found.learning_rate, 0.978 + better_by)
    endings = ends_beside(yours, mine, better_by=better_by, half=0.0012, verdict=verdict)
    if tuned is not None:
        beside = ending_at(tuned.batch_size, tuned.learning_rate, 0.9772)
        endings = replace(endings, tuned=beside)
    tried_too = (*advice.tried, *_whole_runs(endings))
    return with_belief(replace(advice, endings=endings, tried=tried_too))


def with_belief(advice: Advice) -> Advice:
    """The same advice with what its runs together say of each configuration that is shown."""
    places = [advice.reference, *filter(None, [advice.named]), *map(_at, advice.candidates)]
    cells = list(dict.fromkeys((at.batch_size, at.learning_rate) for at in places))
    seen: dict[tuple[int, float], list[float]] = {cell: [] for cell in cells}
    for run in advice.tried:
        if run.end is not None:
            seen.setdefault((run.batch_size, run.learning_rate), []).append(run.end)
    means = CellMeans.of(
        list(seen.values()), metric="accuracy", better="higher", n_examples=advice.n_validation
    )
    at = {cell: i for i, cell in enumerate(seen)}
    named = None if advice.named is None else at[cells[1]]
    return replace(
        advice, believed=tuple(_believed(advice, cell, means, at[cell], named) for cell in cells)
    )


def _at(candidate: Candidate) -> Configuration:
    rate = candidate.learning_rate or tuned_rate(candidate.batch_size)
    size = candidate.batch_size
    return Configuration(batch_size=size, micro_batch_size=size, learning_rate=rate)


def _believed(
    advice: Advice, cell: tuple[int, float], means: CellMeans, i: int, named: int | None
) -> Believed:
    candidate = advice.candidate(cell[0])
    assert candidate is not None
    is_own_rate = candidate.learning_rate not in (None, cell[1])
    cost, n_seen = candidate.cost, len(means.cells[i])
    if is_own_rate and cost.estimate is not None:
        cost = cost.times(REFERENCE_FACTOR)
    end = means.mean(i) if n_seen else around(0.978 - 1e-6 * cell[0], 0.002, 0)
    if advice.objective == "quality" and cost.estimate is not None:
        end = Estimate.of(1 - cost.estimate, interval=(1 - cost.high, 1 - cost.low), n=3)
    better = Estimate.cannot_tell(Reason.of("no_whole_training"))
    if named is not None and n_seen and len(means.cells[named]):
        better = means.difference(i, named)
    size, rate = cell
    return Believed(batch_size=size, learning_rate=rate, end=end, ends_better_by=better, cost=cost)


def _whole_runs(endings: Endings) -> Iterator[RateTried]:
    for ending in endings.trainings:
        for seed, value, test in zip(endings.seeds, ending.values, ending.test, strict=True):
            times = REFERENCE_FACTOR if ending == endings.own else 1.0
            run = tried(
                ending.batch_size,
                rate=ending.learning_rate,
                seed=seed,
                purpose="whole",
                steps=round(ending.epochs * math.ceil(N_TRAIN / ending.batch_size)),
                met=times * law(ending.batch_size),
            )
            yield replace(run, end=value, end_test=test)


KINDS: dict[str, Callable[[], Advice]] = {
    "recommend": made_up_advice,
    "alike": lambda: made_up_advice(step_s=same_time_machine, spread=0.03),
    "likely": likely_advice,
    "cannot_tell": cannot_tell_advice,
    "quality": lambda: made_up_advice(objective="quality"),
    "samples": lambda: made_up_advice(objective="samples"),
    "reference_missed": lambda: made_up_advice(reference_misses=True, does_not_fit=(1024, 4096)),
    "one_sided": one_sided_advice,
    "nothing_reached": nothing_reached_advice,
    "ends_no_worse": lambda: with_endings(made_up_advice()),
    "ending_open": lambda: with_endings(likely_advice(), better_by=-0.0006, verdict="open"),
}
# Those whose figures and sentences differ most; scripts/nightly takes all.
KINDS_BY_DAY = ("recommend", "cannot_tell", "one_sided", "ends_no_worse")


def tried(
    batch_size: int = 64,
    *,
    rate: float = 0.1,
    seed: int = 0,
    purpose: Purpose = "search",
    steps: int = 100,
    met: float | None = None,
    status: str = "ok",
    best: float | None = None,
) -> RateTried:
    """A run; `met` is the step that met the target."""
    return RateTried(
        batch_size=batch_size,
        learning_rate=rate,
        seed=seed,
        purpose=purpose,
        status=status,
        steps=steps,
        steps_to_target=met,
        best_value=best,
    )


@lru_cache(maxsize=32)
def advice_study(advice: Advice) -> Study:
    """A study with a record for every run of `advice`, crossing the target where it says so."""
    base = made_up_study(batch_sizes=(64,), epochs=1, n_train=N_TRAIN)
    return replace(
        base,
        command="batchlab advise made-up --budget 5m",
        records=(
            *(_record(run) for run in advice.tried if run.purpose != "whole"),
            *_whole_trainings(advice),
        ),
        target=advice.target,
    )


def made_up_gap(batch_size: int) -> float:
    """Train less test accuracy of a whole training: smaller for larger batches."""
    return 0.1 / math.sqrt(batch_size)


def made_up_jump(batch_size: int) -> float:
    """How far validation accuracy lies above and below its level, turn by turn."""
    return 0.02 / math.sqrt(batch_size)


def _whole_trainings(advice: Advice) -> Iterator[TrialRecord]:
    """A record for every whole training, on its level long before its end."""
    if (endings := advice.endings) is None:
        return
    for ending in endings.trainings:
        for seed, value, test in zip(endings.seeds, ending.values, ending.test, strict=True):
            if value is not None and test is not None:
                yield _whole(ending, seed, value, test)


def _whole(ending: Ending, seed: int, value: float, test: float) -> TrialRecord:
    size, level = ending.batch_size, approach(value, rate=2.0)
    jump = made_up_jump(size)
    trial = made_up_trial(
        batch_size=size, learning_rate=ending.learning_rate, seed=seed, n_train=N_TRAIN
    )
    return made_up_record(
        trial=trial,
        curves={
            ("train", "accuracy"): approach(test + made_up_gap(size), rate=2.0),
            ("validation", "accuracy"): lambda epoch: (level(epoch) or 0) + jump * (-1) ** epoch,
            ("test", "accuracy"): approach(test, rate=2.0),
        },
        epochs=round(ending.epochs),
        step_s=flat_machine(size),
    )


def _record(run: RateTried) -> TrialRecord:
    per_epoch = math.ceil(N_TRAIN / run.batch_size)
    epochs = max(1, math.ceil(run.steps / per_epoch))
    at = (run.steps_to_target or 3 * run.steps) / per_epoch
    rate = math.log((0.97 - 0.1) / (0.97 - TARGET.value)) / at
    curves = {("validation", "accuracy"): approach(0.97, rate=rate)}
    return made_up_record(
        trial=made_up_trial(
            batch_size=run.batch_size,
            learning_rate=run.learning_rate,
            seed=run.seed,
            n_train=N_TRAIN,
        ),
        curves=curves,
        epochs=min(epochs, 150),
        step_s=flat_machine(run.batch_size),
        status=Status(run.status),
        reason=None if Status(run.status).ended_well else "the loss grew a thousandfold",
        target=TARGET,
    )


def _figure(objective: str, size: int, steps: float, step_s: float) -> float:
    """Time, samples, or for quality a distance that grows with the batch size."""
    return {
        "time": steps * step_s,
        "samples": steps * size,
        "quality": 0.03 * (1 + (size / 600) ** 0.7),
    }[objective]


def _candidate(
    size: int,
    *,
    steps: float,
    step_s: float,
    figure: float,
    least: float,
    spread: float,
    fits: bool,
) -> Candidate:
    relative = figure / least
    high = relative * (1 + spread)
    return Candidate(
        batch_size=size,
        micro_batch_size=size if fits else size // 4,
        fits=fits,
        learning_rate=tuned_rate(size),
        n_runs=3,
        step_s=around(step_s, 0.02, 5),
        steps_to_target=around(steps, spread, 3),
        time_to_target_s=around(steps * step_s, spread, 3),
        samples_to_target=around(steps * size, spread, 3),
        cost=around(figure, spread, 3),
        relative=Estimate.of(relative, interval=(relative * (1 - spread), high), n=3),
        in_flat_set=high <= 1.1 or figure == least,
        peak_bytes=30_000_000 + 40_000 * (size if fits else size // 4),
        rule_learning_rates=tuple(
            (rule, tuned_rate(64) * (size / 64) ** power)
            for rule, power in (("none", 0.0), ("linear", 1.0), ("sqrt", 0.5))
        ),
        note=None if fits else written("does not fit whole: run in 4 micro-batches"),
    )


def _configuration(candidate: Candidate) -> Configuration:
    assert candidate.learning_rate is not None
    return Configuration(
        batch_size=candidate.batch_size,
        micro_batch_size=candidate.micro_batch_size,
        learning_rate=candidate.learning_rate,
    )


def _expected(candidate: Candidate, spread: float) -> Expected:
    samples = candidate.samples_to_target.estimate
    assert candidate.peak_bytes is not None
    return Expected(
        time_to_target_s=candidate.time_to_target_s,
        steps_to_target=candidate.steps_to_target,
        samples_to_target=candidate.samples_to_target,
        epochs_to_target=around(samples / N_TRAIN, spread, 3),
        peak_bytes=Estimate.of(float(candidate.peak_bytes), interval=(None, None), n=1),
    )


def _laws(sizes: Sequence[int], steps: Callable[[float], float]) -> Laws:
    octaves = np.arange(math.log2(sizes[0]), math.log2(sizes[-1]) + 0.01, 0.5)
    return Laws(
        s_min=around(S_MIN, 0.06, 24),
        e_min=around(S_MIN * B_CRIT, 0.08, 24),
        b_crit=around(B_CRIT, 0.12, 24),
        fixed_bytes=around(30_000_000, 0.02, 8),
        bytes_per_example=around(40_000, 0.02, 8),
        step_overhead_s=around(2e-3, 0.02, 8),
        step_s_per_example=around(2e-6, 0.02, 8),
        knee_batch_size=around(1000, 0.03, 8),
        curve=tuple((round(2**octave), around(steps(2**octave), 0.04, 24)) for octave in octaves),
        step_curve=tuple(
            (round(2**octave), around(flat_machine(2**octave), 0.02, 8)) for octave in octaves
        ),
        law_holds=True,
    )


def _tried(
    sizes: Sequence[int], steps: Callable[[float], float], scatter: float
) -> Iterator[RateTried]:
    """Five rates of a basin, its upper end diverging or missing, then three fresh seeds."""
    random = np.random.default_rng(0)
    for size in sizes:
        for octave in (-3, -1.5, 0, 1.5, 3):
            taken = steps(size) * 2 ** (0.25 * octave**2) * math.exp(random.normal(0, scatter))
            missed = octave == -3 and size >= 256
            ended = "diverged" if octave == 3 else "ok" if missed else "target_reached"
            met = ended == "target_reached"
            yield tried(
                size,
                rate=float(f"{tuned_rate(size) * 2**octave:.3g}"),
                status=ended,
                steps=round(taken if met else 1.5 * steps(size)),
                met=taken if met else None,
            )
        for seed in (1, 2, 3):
            taken = steps(size) * math.exp(random.normal(0, scatter))
            yield tried(
                size,
                rate=tuned_rate(size),
                seed=seed,
                status="target_reached",
                steps=round(taken),
                met=taken,
            )


def _further_seeds(
    best: Configuration,
    tuned: Candidate,
    reference: Configuration,
    steps: Callable[[float], float],
    misses: bool,
) -> Iterator[RateTried]:
    """Three configurations on four further seeds."""
    for found, times in ((best, 1.0), (_configuration(tuned), 1.0), (reference, REFERENCE_FACTOR)):
        missed = misses and found == reference
        taken = times * steps(found.batch_size)
        for seed in (100, 101, 102, 103):
            yield tried(
                found.batch_size,
                rate=found.learning_rate,
                seed=seed,
                status="ok" if missed else "target_reached",
                steps=round(0.6 * taken if missed else taken),
                met=None if missed else taken,
            )
