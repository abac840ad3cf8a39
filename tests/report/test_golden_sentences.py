"""The page of golden sentences: all that reports say of made-up records, word for word.

Other tests assert verdicts, numbers and codes. Where a sentence is to change, write the page anew
with `python -m tests.report.test_golden_sentences` and read what changed in it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import (
    KINDS,
    advice_study,
    around,
    cannot_tell_advice,
    made_up_advice,
    with_endings,
)
from tests.reference.made_up_noise import made_up_noise, made_up_point
from tests.reference.made_up_plans import plan_study
from tests.reference.made_up_profile import limited_profile, made_up_profile
from tests.reference.made_up_profile import made_up_point as profile_point
from tests.reference.reprs import reprs_in
from tests.reference.said_of_sweep import BETTER, LEVEL, WORSE, by_size

import batchlab
from batchlab.advice.advice import Advice
from batchlab.belief.evidence import Evidence
from batchlab.measure.finding import Accumulation, Finding
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.study import Study
from batchlab.records.trial import Status
from batchlab.report.advice_answer import advice_sentences, cost_text
from batchlab.report.cells import trial_counts
from batchlab.report.sayings import claim_sentences
from batchlab.report.short_reports import check_section, fit_section, noise_section, profile_section
from batchlab.report.sweep_answer import conclusion, sentences
from batchlab.report.table import Section

PAGE = Path(__file__).with_name("golden_sentences.txt")


# ---- sweeps


def _sweep(levels, *, scatter=0.0005, rate=1.0, **study) -> Study:
    curves = by_size(levels, scatter=scatter, rate=rate)
    return made_up_study(**({"seeds": 3, "batch_sizes": tuple(levels), "curves": curves} | study))


def _full(level: float, **study) -> Study:
    return _sweep({64: (0.99, 0.97, 0.97), 4096: (0.99, level, level)}, **study)


BAD_ENDS = {
    (64, 0.1, 1): (Status.DIVERGED, "the loss grew a thousandfold", 3),
    (256, 0.01, 0): (Status.OOM, "needed 9 GB of 8", 2),
}
SWEEPS: dict[str, Callable[[], Study]] = {
    "worse": lambda: _sweep(WORSE),
    "better": lambda: _sweep(BETTER),
    "level": lambda: _sweep(LEVEL, seeds=6, scatter=0.0002),
    "one seed": lambda: _sweep(WORSE, seeds=1),
    "noisy": lambda: _sweep(LEVEL, scatter=0.01),
    "turned": lambda: _sweep(WORSE | {64: WORSE[256], 256: WORSE[64]}),
    "tied": lambda: made_up_study(batch_sizes=(64, 256), curves=by_size(LEVEL, scatter=0.0)),
    "full batch open at equal epochs": lambda: _full(0.971, scatter=0.01),
    "untrained": lambda: _sweep(dict.fromkeys((64, 1024), (0.11, 0.11, 0.11)), rate=2.0),
    "less trained": lambda: _sweep(WORSE | {1024: (0.983, 0.95, 0.95)}),
    "left out": lambda: _sweep(WORSE | {4096: (0.13, 0.13, 0.13)}),
    "full batch better": lambda: _full(0.98, step_s=lambda size: 1e-6),
    "full batch worse": lambda: _full(0.93),
    "full batch as good": lambda: _full(0.97, seeds=6, scatter=0.0001, evaluations_per_epoch=1),
    "bad ends": lambda: made_up_study(
        learning_rates=(0.01, 0.1), seeds=2, epochs=8, endings=BAD_ENDS
    ),
    "nothing held out": lambda: made_up_study(seeds=2, n_validation=0, n_test=0, timed=False),
    "one size": lambda: made_up_study(batch_sizes=(64,), epochs=30),
    "without an answer": lambda: replace(made_up_study(epochs=1), awaits_answer=True),
    "plans": plan_study,
    "nothing": lambda: made_up_study(batch_sizes=()),
}


def _of_sweep(study: Study) -> Iterator[str]:
    headline, lead = conclusion(study)
    yield f"headline: {headline}"
    yield f"lead: {lead}"
    yield trial_counts(study)
    yield from (f"{found.topic}: {found}" for found in sentences(study))
    for claim in claim_sentences(Evidence.of(study)):
        yield f"{claim.topic} [{claim.verdict}]: {claim}"


# ---- advices


def _changed(kind: str, **changes: object) -> Callable[[], Advice]:
    return lambda: replace(KINDS[kind](), **changes)


ADVICES: dict[str, Callable[[], Advice]] = {
    **KINDS,
    "usual": _changed("ends_no_worse", is_usual=True),
    "trainings": _changed("cannot_tell", trainings=2.0),
    "of a loss": _changed("quality", metric="loss", better="lower"),
    "easier target": _changed("recommend", target_origin="easier"),
    "pilot": _changed("samples", target_origin="pilot"),
}


def _of_advice(advice: Advice) -> Iterator[str]:
    study = advice_study(advice)
    for found in advice_sentences(advice, study):
        verdict = f" [{found.verdict}]" if found.verdict else ""
        yield f"{found.topic}{verdict}: {found} {found.command}".rstrip()
    yield cost_text(advice)


# Cases: what one sentence has to tell, and the advice, of which one field is another.

ADVICE, OPEN = made_up_advice(), cannot_tell_advice()
BOUND, ENDED = KINDS["reference_missed"](), with_endings(ADVICE)
OPEN_END = with_endings(replace(ADVICE, chance=0.9), better_by=-0.0006, verdict="open")
LEARNED = {"epochs": 5.0, "metric": "accuracy", "value": 0.11, "first": 0.1}
named, stays = partial(replace, ADVICE), partial(replace, OPEN)


def at_rate(learning_rate: float) -> Advice:
    """The advice to somebody who trains with this rate."""
    return named(reference=replace(ADVICE.reference, learning_rate=learning_rate))


BY_TOPIC: dict[str, dict[str, Advice]] = {
    "why": {
        "likely": named(chance=0.83),
        "not sure": named(chance=0.55),
        "given": named(target_origin="given"),
        "its end was seen": ENDED,
        "likely, beside the usual": named(chance=0.87, is_usual=True),
        "a bound": BOUND,
        "hardly learns": named(hardly_learns=Reason.of("hardly_learns", **LEARNED)),
        "not worth its risk": stays(reason=Reason.of("risk_outweighs", size=128, rate=0.08)),
        **{
            code: stays(reason=Reason.of(code))
            for code in ("nothing_likely_faster", "no_larger_likely", "nothing_likely_better")
        },
    },
    "answer": {
        "keeps the batch size": named(reference=replace(ADVICE.recommendation, learning_rate=0.01)),
        "in micro-batches": BOUND,
        "stays": OPEN,
        "stays, beside the usual": stays(reference=ADVICE.reference, is_usual=True),
        "nothing ran": stays(provisional=None),
    },
    "learning rate": {
        "far too low": ADVICE,
        "far too high": at_rate(0.4),
        "batch size may add nothing": named(
            gain=around(1.6, 0.2), gain_from_batch_size=around(1.3, 0.3)
        ),
        "the rate gains nothing": named(gain=around(2.0), gain_from_batch_size=around(2.0)),
        "perhaps nothing is gained": named(
            gain=around(1.3, 0.4), gain_from_batch_size=around(1.0, 0.2)
        ),
        "the batch size stays": named(
            recommendation=ADVICE.reference_tuned,
            gain=around(2.5),
            gain_from_batch_size=Estimate.of(1.0, interval=(1.0, 1.0), n=1),
        ),
        "near enough": at_rate(0.04),
        "nobody chose it": named(is_usual=True),
    },
    # Another configuration ends better.
    "ends best": {
        "surely": with_endings(ADVICE, better_by=-0.01, verdict="open"),
        "perhaps, not surely": OPEN_END,
    },
    "still open": {
        "perhaps": OPEN_END,
        "what is named": ENDED,
        "of a level that was given": replace(OPEN_END, target_origin="given"),
    },
    "also fine": {
        "another also fine": named(flat_set=(512,)),
        "only what is named": named(flat_set=(1024,)),
    },
    "law of the steps": {
        "off the law": named(laws=replace(ADVICE.laws, law_holds=False)),
    },
    "trained model": {"only the time": ADVICE},
}
CASES = {
    case: (topic, advice) for topic, cases in BY_TOPIC.items() for case, advice in cases.items()
}


def _of_cases() -> Iterator[str]:
    """One sentence each, "nothing" where it is not told."""
    study = advice_study(made_up_advice())
    for case, (topic, advice) in CASES.items():
        told = {found.topic: found for found in advice_sentences(advice, study)}
        said = f"{told[topic]} {told[topic].command}".strip() if topic in told else "nothing"
        yield f"{topic}, {case}: {said}"


# ---- what was measured


def _of_part(part: Section) -> Iterator[str]:
    yield from (part.title, *part.facts, *part.notes)


def _profiled(*sizes: int, **changes: object):
    return replace(made_up_profile(*map(profile_point, sizes)), **changes)


def _timed(step_s, *sizes: int):
    return made_up_profile(*(profile_point(size, median_s=step_s(size)) for size in sizes))


POWERS = tuple(2**power for power in range(11))
PROFILES = {
    "with a knee": lambda: _timed(lambda size: 1e-3 + 1e-5 * size, *POWERS),
    "flat": lambda: _timed(lambda size: 2e-3, *POWERS),
    "from the first example": lambda: _timed(lambda size: 1e-4 * size, *POWERS),
    "off the law": lambda: _timed(lambda size: 3e-3 if size == 64 else 1e-3 + 1e-5 * size, *POWERS),
    "with evaluations": lambda: made_up_profile(
        *(replace(profile_point(size), with_evaluations=True) for size in (32, 64))
    ),
    "untested": lambda: made_up_profile(
        *map(profile_point, (8, 64)), profile_point(1024, status=Status.OOM, reason="too much")
    ),
    "limited": limited_profile,
    "cut by time": lambda: _profiled(64, 128, stopped="time"),
    "cut by errors": lambda: _profiled(64, 128, 256, stopped="errors"),
    "nothing ran": lambda: made_up_profile(profile_point(64, status=Status.OOM, reason="no")),
}


NOISES = {
    "growing": lambda: made_up_noise(),
    "falling": lambda: made_up_noise(made_up_point(0, 60.0), made_up_point(10, 3.0)),
    "one point": lambda: made_up_noise(made_up_point(0, 1.0)),
    "lost": lambda: made_up_noise(made_up_point(0, math.inf)),
    "lost at last": lambda: made_up_noise(
        *(made_up_point(step, scale) for step, scale in ((0, 20.0), (10, 40.0), (20, math.inf)))
    ),
    "cut": lambda: made_up_noise(stopped=Reason.of("out_of_time")),
}
FINDINGS = {
    "equal": (),
    "by chance": (Finding(cause="random", where="`model`", size=0.4, by_chance=True),),
    "not equal": (Finding(cause="sum", where="`loss`", size=5.0),),
}


def _of_fit() -> Iterator[str]:
    """Points on the law, with one batch size off it, and on a law with another exponent."""
    for off, exponent, scatter in ((1.0, 1.0, 0.02), (1.08, 1.0, 0.002), (1.0, 0.6, 0.01)):
        points = []
        for size, seed in itertools.product((16, 64, 256, 1024), (1, 2)):
            steps = 300 * (1 + (500 / size) ** exponent) * (1 + scatter * seed)
            steps *= off if size == 64 else 1.0
            points.append({"batch_size": size, "steps_to_target": steps})
        yield from _of_part(fit_section(batchlab.fit(points)))


def _of_check(kind: str) -> Iterator[str]:
    told = {"workload": "mine", "n_examples": 6, "rounding": 1e-7, "findings": FINDINGS[kind]}
    yield from _of_part(check_section(Accumulation(in_double=kind != "by chance", **told)))


# ---- the page

SECTIONS: dict[str, Callable[[], Iterator[str]]] = {
    **{
        f"{what}: {name}": lambda of=of, make=make: of(make())
        for what, of, made in (
            ("sweep", _of_sweep, SWEEPS),
            ("advice", _of_advice, ADVICES),
            ("profile", lambda profile: _of_part(profile_section(profile)), PROFILES),
            ("noise", lambda noise: _of_part(noise_section(noise)), NOISES),
        )
        for name, make in made.items()
    },
    **{f"check: {kind}": lambda kind=kind: _of_check(kind) for kind in FINDINGS},
    "fit": _of_fit,
    "advice, case by case": _of_cases,
}


@cache
def _said(section: str) -> tuple[str, ...]:
    return tuple(line for line in SECTIONS[section]() if line)


def _golden() -> set[str]:
    return set(PAGE.read_text(encoding="utf-8").splitlines())


QUICK = {
    *("advice: recommend", "advice: cannot_tell", "advice: ends_no_worse", "advice: trainings"),
    *("sweep: bad ends", "sweep: nothing", "sweep: one size", "sweep: without an answer"),
    *("sweep: plans", "sweep: one seed", "sweep: turned", "sweep: nothing held out"),
}
PARAMETERS = [
    section
    if section in QUICK or not section.startswith(("advice:", "sweep:"))
    else pytest.param(section, marks=pytest.mark.slow)
    for section in SECTIONS
]


@pytest.mark.parametrize("section", PARAMETERS)
def test_all_that_is_said_is_said_as_on_the_golden_page(section):
    assert [line for line in _said(section) if line not in _golden()] == []


@pytest.mark.slow
def test_the_golden_page_has_nothing_that_is_not_said():
    said = {line for section in SECTIONS for line in _said(section)}

    assert {line for line in _golden() if line and not line.startswith("== ")} == said


def test_a_repr_is_found_in_a_text_and_no_golden_page_has_one():
    assert reprs_in("Gradient noise of NoiseWorkload(workload_id='5', name='mine') by step")
    assert reprs_in("it ended as <Status.OK: 'ok'>")
    assert reprs_in("a loss of <torch.Tensor object at 0x7f3a>")
    assert not reprs_in("S = S_min (1 + B_crit / B); batch_sizes=[16, 64] (see `--set x=1`)")
    for page in PAGE.parent.glob("*.txt"):
        assert reprs_in(page.read_text(encoding="utf-8")) == []


if __name__ == "__main__":
    known: set[str] = set()
    parts = []
    for section in SECTIONS:
        new = [line for line in _said(section) if line not in known]
        known.update(new)
        parts.append("\n".join([f"== {section} ==", *new]))
    PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
