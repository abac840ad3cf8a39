"""The golden page: all that reports say and draw of made-up records, section by section.

Other tests assert verdicts, numbers and codes. Of each kind of mark in a chart the page has the
number of rows, the sums of their numbers and the words. Where something is to change, write the
page anew with `python -m tests.report.test_golden_page` and read what changed in it.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_study, seeded_curves
from tests.reference.made_up_advice import (
    KINDS,
    advice_study,
    around,
    cannot_tell_advice,
    made_up_advice,
    tried,
    with_endings,
)
from tests.reference.made_up_noise import made_up_noise
from tests.reference.made_up_plans import plan_study, planned_trial
from tests.reference.made_up_profile import made_up_point as profile_point
from tests.reference.made_up_profile import made_up_profile
from tests.reference.pages import BAD_ENDS
from tests.reference.reprs import reprs_in
from tests.reference.said_of_sweep import BETTER, LEVEL, WORSE, by_size

import batchlab
from batchlab.advice.advice import Advice
from batchlab.belief.evidence import Evidence
from batchlab.measure.finding import Accumulation, Finding
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.study import AdamSettings, Study
from batchlab.records.trial import Status, TrialRecord
from batchlab.report.advice_answer import advice_sentences, cost_text, trained_model
from batchlab.report.advice_figures import advice_figures
from batchlab.report.advice_page import advice_text, explain_text
from batchlab.report.advice_rows import answer_table
from batchlab.report.cells import trial_counts
from batchlab.report.chart import plot
from batchlab.report.figure import Figure, Panel
from batchlab.report.sayings import claim_sentences
from batchlab.report.short_reports import check_section, fit_section, noise_section, profile_section
from batchlab.report.sweep_answer import conclusion, sentences, sweep_table, trials_table
from batchlab.report.sweep_page import sweep_figures, text_report
from batchlab.report.table import Section, Table

PAGE = Path(__file__).with_name("golden_page.txt")
Lines = Iterator[str]


def _of_figures(figures: Iterable[Figure]) -> Lines:
    """The marks of each figure's first view; the others have the same."""
    for figure in figures:
        yield from (f"{figure.key}: {note}" for note in figure.notes)
        for panel in figure.panels:
            axes = plot(panel, ())["encoding"]
            x, y = axes["x"]["field"], axes["y"]["scale"]["type"]
            yield f"{panel.key}: {x} ({axes['x']['scale']['type']}), {panel.quantity} ({y})"
            if panel.view in ("", "epochs"):
                yield from _of_marks(panel)


def _of_marks(panel: Panel) -> Lines:
    for kind in sorted({str(row["kind"]) for row in panel.rows}):
        rows = [row for row in panel.rows if row["kind"] == kind]
        fields = [field for field in dict.fromkeys(itertools.chain(*rows)) if field != "kind"]
        told = [f"{field} {_summary([row.get(field) for row in rows])}" for field in fields]
        yield f"{panel.key}: {', '.join([f'{len(rows)} {kind}', *told])}"


def _summary(values: list[object]) -> str:
    """The sum of what are numbers, or the words."""
    numbers = [value for value in values if isinstance(value, int | float)]
    if numbers:
        return f"{math.fsum(numbers):.6g}"
    return "/".join(sorted({str(value) for value in values if value is not None})[:8])


def _of_table(table: Table) -> Lines:
    yield f"{table.caption}: {' | '.join(column.key for column in table.columns)}"
    yield from (" | ".join(cells).rstrip() for cells in table.texts())


def _of_section(part: Section) -> Lines:
    yield from filter(None, (part.title, *part.facts, *part.notes))
    if part.table is not None:
        yield from _of_table(part.table)


# ---- sweeps


def _sweep(levels, *, scatter=0.0005, rate=1.0, **study) -> Study:
    curves = by_size(levels, scatter=scatter, rate=rate)
    return made_up_study(**({"seeds": 3, "batch_sizes": tuple(levels), "curves": curves} | study))


def _full(level: float, **study) -> Study:
    return _sweep({64: (0.99, 0.97, 0.97), 4096: (0.99, level, level)}, **study)


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


def _measured() -> Study:
    """Three quantities along training, seldom and only for one of the seeds at its end."""
    study = made_up_study(batch_sizes=(16, 64), seeds=2)
    records = []
    for record in study.records:
        size, seed = record.trial.batch_size, record.trial.seed
        seen = []
        for each in record.evaluations:
            variance = 32 / size * (5 if each.step else 1)
            known = {"noise_scale": 100.0 + 10 * seed, "gradient_variance": variance}
            if each.step > 500 * seed:
                known["sharpness"] = float(size * each.step + seed)
            seen.append(replace(each, measured=tuple(known.items())))
        records.append(replace(record, evaluations=tuple(seen)))
    return replace(study, records=tuple(records))


def _validated(*cell):
    return {of: curve for of, curve in seeded_curves(*cell).items() if of[0] == "validation"}


def _of_plans(change: Callable[[TrialRecord], TrialRecord]) -> Study:
    study = plan_study()
    return replace(study, records=tuple(map(change, study.records)))


DRAWN: dict[str, Callable[[], Study]] = {
    **{name: SWEEPS[name] for name in ("one seed", "full batch better", "bad ends", "plans")},
    **{name: SWEEPS[name] for name in ("nothing held out", "one size", "nothing")},
    "a plan diverged": lambda: _of_plans(
        lambda r: replace(r, status=Status.DIVERGED) if r.trial == planned_trial("grow") else r
    ),
    "without a metric": lambda: _of_plans(
        lambda r: replace(r, evaluations=tuple(replace(e, scores=()) for e in r.evaluations))
    ),
    "measured": _measured,
    # It tells what it evaluates on validation data only.
    "own script": lambda: made_up_study(curves=_validated, n_test=0),
}


def _drawn_of_sweep(study: Study) -> Lines:
    yield from text_report(study).splitlines()
    yield from _of_table(sweep_table(study))
    yield from _of_table(trials_table(study))
    yield from _of_figures(sweep_figures(study))


def _of_sweep(study: Study) -> Lines:
    headline, lead = conclusion(study)
    yield f"headline: {headline}"
    yield f"lead: {lead}"
    yield trial_counts(study)
    yield from (f"{found.topic}: {found.text}" for found in sentences(study))
    for claim in claim_sentences(Evidence.of(study)):
        yield f"{claim.topic} [{claim.verdict}]: {claim.text}"


# ---- advices


def _changed(kind: str, **changes: object) -> Callable[[], Advice]:
    return lambda: replace(KINDS[kind](), **changes)


ADAM = AdamSettings(betas=(0.9, 0.999**8), weight_decay=0.1 * 8**0.5)
ADVICES: dict[str, Callable[[], Advice]] = {
    **KINDS,
    "usual": _changed("ends_no_worse", is_usual=True),
    "with Adam": lambda: replace(ADVICE, recommendation=replace(ADVICE.recommendation, adam=ADAM)),
    "of a loss": _changed("quality", metric="loss", better="lower"),
    "easier target": _changed("recommend", target_origin="easier"),
    "pilot": _changed("samples", target_origin="pilot"),
}


def _of_advice(advice: Advice) -> Lines:
    study = advice_study(advice)
    for found in (*advice_sentences(advice), *trained_model(advice, study)):
        yield f"{found.topic}: {found.text} {found.command}".rstrip()
    yield cost_text(advice)


MISSED = (
    tried(rate=0.01, steps=100, met=100.0, status="target_reached"),
    tried(rate=0.1, steps=80, met=80.0, status="target_reached"),
    tried(rate=0.1, steps=300, seed=1),
    tried(512, steps=80),
    tried(rate=1.0, steps=5, status="diverged"),
)
UNTRAINED = replace(made_up_advice().candidates[0], learning_rate=None)
DRAWN_ADVICES: dict[str, Callable[[], Advice]] = {
    **{kind: KINDS[kind] for kind in ("recommend", "cannot_tell", "quality", "one_sided")},
    **{kind: KINDS[kind] for kind in ("ends_no_worse", "reference_missed")},
    "untrained": lambda: replace(ADVICE, candidates=(UNTRAINED, *ADVICE.candidates[1:])),
    "most missed": lambda: replace(ADVICE, tried=MISSED),
}


def _drawn_of_advice(advice: Advice) -> Lines:
    study = advice_study(advice)
    yield from advice_text(advice, study=study, report=None).splitlines()
    yield from explain_text(advice, study=study).splitlines()
    yield from _of_table(answer_table(advice))
    profile = made_up_profile(memory_limit_bytes=100_000_000)
    yield from _of_figures(advice_figures(advice, study, profile))


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
        "hardly learns": stays(
            hardly_learns=Reason.of(
                "another_rate_learns", why=Reason.of("every_run_failed"), rate=5.12
            )
        ),
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
    "best end": {
        "surely": with_endings(ADVICE, better_by=-0.01, verdict="open"),
        "perhaps": OPEN_END,
        "what is named": ENDED,
        "of a level that was given": replace(OPEN_END, target_origin="given"),
    },
    "also fine": {
        "another also fine": named(flat_set=(512,)),
        "only what is named": named(flat_set=(1024,)),
    },
    "law of the steps": {"off the law": named(laws=replace(ADVICE.laws, law_holds=False))},
    "trained model": {"only the time": ADVICE},
}
CASES = {
    case: (topic, advice) for topic, cases in BY_TOPIC.items() for case, advice in cases.items()
}


def _of_cases() -> Lines:
    """One sentence each, "nothing" where it is not told."""
    study = advice_study(made_up_advice())
    for case, (topic, advice) in CASES.items():
        sentences = (*advice_sentences(advice), *trained_model(advice, study))
        told = {found.topic: found for found in sentences}
        said = f"{told[topic].text} {told[topic].command}".strip() if topic in told else "nothing"
        yield f"{topic}, {case}: {said}"


# ---- what was measured


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
    # A limit of memory cut it short: 1 raised an error, and 256 runs in two pieces only.
    "limited": lambda: made_up_profile(
        profile_point(1, status=Status.ERROR, reason="Expected more than 1 value per channel"),
        *map(profile_point, (64, 128)),
        replace(profile_point(256), status=Status.OOM, reason=Reason.as_written("76 of 70 MB")),
        profile_point(256, micro_batch_size=128),
        memory_limit_bytes=70_000_000,
    ),
    "on a GPU": lambda: made_up_profile(
        *(replace(profile_point(size), gpu_peak_bytes=3 * 10**9) for size in (32, 64))
    ),
    "cut by time": lambda: _profiled(64, 128, stopped="time"),
    "cut by errors": lambda: _profiled(64, 128, 256, stopped="errors"),
    "nothing ran": lambda: made_up_profile(profile_point(64, status=Status.OOM, reason="no")),
}


NOISES = {
    "growing": made_up_noise,
    "falling": lambda: made_up_noise((0, 60.0), (10, 3.0)),
    "one point": lambda: made_up_noise((0, 1.0)),
    "lost": lambda: made_up_noise((0, math.inf)),
    "lost at last": lambda: made_up_noise((0, 20.0), (10, 40.0), (20, math.inf)),
    "cut": lambda: made_up_noise(stopped=Reason.of("out_of_time")),
}


FINDINGS = {
    "equal": (),
    "by chance": (Finding(cause="random", where="`model`", size=0.4, by_chance=True),),
    "not equal": (Finding(cause="sum", where="`loss`", size=5.0),),
}


def _of_fit() -> Lines:
    """Points on the law, with one batch size off it, and on a law with another exponent."""
    for off, exponent, scatter in ((1.0, 1.0, 0.02), (1.08, 1.0, 0.002), (1.0, 0.6, 0.01)):
        points = []
        for size, seed in itertools.product((16, 64, 256, 1024), (1, 2)):
            steps = 300 * (1 + (500 / size) ** exponent) * (1 + scatter * seed)
            steps *= off if size == 64 else 1.0
            points.append({"batch_size": size, "steps_to_target": steps})
        yield from _of_section(fit_section(batchlab.fit(points)))


def _of_check(kind: str) -> Lines:
    told = {"workload": "mine", "n_examples": 6, "findings": FINDINGS[kind]}
    yield from _of_section(check_section(Accumulation(in_double=kind != "by chance", **told)))


# ---- the page

KINDS_OF_SECTIONS = {
    "sweep": (_of_sweep, SWEEPS),
    "drawn sweep": (_drawn_of_sweep, DRAWN),
    "advice": (_of_advice, ADVICES),
    "drawn advice": (_drawn_of_advice, DRAWN_ADVICES),
    "profile": (lambda profile: _of_section(profile_section(profile)), PROFILES),
    "noise": (lambda noise: _of_section(noise_section(noise)), NOISES),
    "check": (_of_check, {kind: partial(str, kind) for kind in FINDINGS}),
}
SECTIONS: dict[str, Callable[[], Lines]] = {
    f"{what}: {name}": partial(lambda of, make: of(make()), of, make)
    for what, (of, made) in KINDS_OF_SECTIONS.items()
    for name, make in made.items()
}
SECTIONS |= {"fit": _of_fit, "advice, case by case": _of_cases}


def _golden() -> dict[str, list[str]]:
    parts = PAGE.read_text(encoding="utf-8").split("== ")[1:]
    sections = (part.partition(" ==\n") for part in parts)
    return {name: text.splitlines() for name, _, text in sections}


# All that is said without a drawing takes seconds together.
MANY = [section for section in SECTIONS if section.startswith(("advice:", "sweep:"))]


@pytest.mark.parametrize(
    "section", [pytest.param(s, marks=pytest.mark.slow) if s in MANY else s for s in SECTIONS]
)
def test_all_that_is_said_and_drawn_is_as_on_the_golden_page(section):
    assert list(SECTIONS[section]()) == _golden()[section]


def test_the_golden_page_has_these_sections_and_no_repr():
    assert list(_golden()) == list(SECTIONS)
    assert reprs_in("Gradient noise of NoiseWorkload(workload_id='5', name='mine') by step")
    assert reprs_in("it ended as <Status.OK: 'ok'>")
    assert reprs_in("a loss of <torch.Tensor object at 0x7f3a>")
    assert not reprs_in("S = S_min (1 + B_crit / B); batch_sizes=[16, 64] (see `--set x=1`)")
    assert reprs_in(PAGE.read_text(encoding="utf-8")) == []


if __name__ == "__main__":
    parts = ("\n".join((f"== {name} ==", *make(), "")) for name, make in SECTIONS.items())
    PAGE.write_text("".join(parts), encoding="utf-8")
