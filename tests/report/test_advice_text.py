"""An advice on one screen: its sentences, its tables and what can be copied from it."""

import copy
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.reference.by_day import by_day
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import (
    KINDS,
    KINDS_BY_DAY,
    advice_study,
    cannot_tell_advice,
    made_up_advice,
    tried,
    with_belief,
)
from tests.reference.made_up_profile import made_up_profile
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from batchlab.advice.advice import Advice, Configuration, Step
from batchlab.records.estimate import Reason
from batchlab.records.study import AdamSettings
from batchlab.report.advice_answer import (
    RESEARCH_TOPIC,
    advice_sentences,
    cost_text,
    lines_to_paste,
    script_lines,
    weights_command,
)
from batchlab.report.advice_page import advice_text, explain_text, render_advice_html
from batchlab.report.advice_rows import answer_table, untried_text
from batchlab.report.sweep_page import html_page, text_report
from batchlab.report.text import on_a_terminal

written = Reason.as_written
ADVICE = made_up_advice()
STUDY = advice_study(ADVICE)


def screen(advice) -> str:
    return advice_text(advice, study=STUDY, report=Path("report.html"))


SYMBOLS = re.compile(r"\b(B_crit|S_min|E_min|p =|exponent)")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_advice_fits_on_one_screen(kind):
    advice = KINDS[kind]()
    with on_a_terminal(100):
        lines = screen(advice).splitlines()

    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    assert "Page: report.html." in lines[-1]
    study = advice_study(advice)
    for sentence in advice_sentences(advice):  # symbols are folded away
        assert sentence.topic == RESEARCH_TOPIC or not SYMBOLS.search(sentence.text)
    for columns in (40, 60, 80, 120):
        with on_a_terminal(columns):
            said = advice_text(advice, study=study, report=Path("report.html"))
        assert [line for line in said.splitlines() if len(line) > columns] == []


@pytest.mark.parametrize("kind", [*by_day(KINDS, KINDS_BY_DAY), "sweep"])
def test_members_of_a_batch_are_called_tokens_where_its_size_counts_them(
    kind: str, undrawn: None
) -> None:
    study = made_up_study(batch_sizes=(64, 256), epochs=4)
    workload = replace(study.workload, unit="tokens")
    if kind == "sweep":
        study = replace(study, workload=workload)
        said = text_report(study) + html_page(study)
    else:
        advice = KINDS[kind]()
        study = replace(advice_study(advice), workload=workload)
        said = advice_text(advice, study=study, report=None) + explain_text(advice, study=study)
        said += render_advice_html(advice, study, made_up_profile())

    assert len(re.findall("\\bexamples?\\b", said)) == 0
    assert said.count("batch size (tokens)") > 0


def test_notes_that_have_no_room_are_counted_in_a_line():
    caveats = tuple(written(f"Caveat {n} " + "of many words " * 12) for n in range(9))

    said = screen(replace(ADVICE, caveats=caveats))

    assert len(said.splitlines()) <= 24
    assert "8 more notes are on the page (" in said


def test_what_is_to_be_pasted_for_a_command_of_ones_own_is_that_command() -> None:
    own = "python train.py --bs {batch_size} --lr {learning_rate} --seed {seed}"
    workload = replace(STUDY.workload, start_s=1.0)
    study = replace(STUDY, workload=workload, command=f"batchlab advise --metric acc -- {own}")
    large = replace(ADVICE.recommendation, batch_size=2**20)

    said = explain_text(ADVICE, study=study)

    assert "  python train.py --bs 1024 --lr 0.26 --seed {seed}\n" in said
    assert ("DataLoader" in said, "DataLoader" in explain_text(ADVICE, study=STUDY)) == (
        False,
        True,
    )
    # A batch size is whole, however large.
    assert lines_to_paste(large, study) == ("python train.py --bs 1048576 --lr 0.26 --seed {seed}",)


def test_why_nothing_can_be_compared_is_said_once() -> None:
    why = written("it cannot be compared")
    others = (replace(each, learning_rate=None, fits=False, note=why) for each in ADVICE.candidates)
    advice = replace(cannot_tell_advice(), reason=why, candidates=tuple(others), tried=())

    for told in (advice, replace(advice, reason=written("no"))):
        assert screen(told).lower().count("it cannot be compared") == 1


def test_sizes_that_did_not_run_for_other_reasons_are_told_apart() -> None:
    notes = dict.fromkeys((16, 32), Reason.of("profile_ended_before"))
    notes[128] = written("it crashed")
    candidates = [
        replace(each, learning_rate=None, fits=False, note=notes[each.batch_size])
        for each in ADVICE.candidates
        if each.batch_size in notes
    ]

    said = untried_text(replace(ADVICE, candidates=tuple(candidates), tried=(), believed=()))

    assert "16, 32 (" in said
    assert "128 (it crashed)" in said


def test_the_command_names_the_store_and_the_study_that_were_asked() -> None:
    stores = {
        "batchlab advise mine.py:workload --budget 5m": "",
        "batchlab advise mine --store 'my lab.db' --budget 5m": " --store 'my lab.db'",
        "batchlab advise mine --store=lab.db": " --store lab.db",
        "batchlab.advise('mine', ...)": "",
    }
    for command, store in stores.items():
        study = replace(STUDY, command=command, study_id="0123456789abcdef")
        assert weights_command(study) == f"batchlab weights{store} --study 01234567"


# ---- the lines to paste


@pytest.mark.parametrize("micro_batch_size", [5, 4, 1], ids=["divides", "ragged", "single"])
def test_the_lines_train_like_whole_batches_with_what_is_named(micro_batch_size) -> None:
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(23, 3), torch.randint(0, 2, (23,)))
    model, loss_fn = torch.nn.Linear(3, 2), F.cross_entropy
    twin, adam = copy.deepcopy(model), {"betas": (0.9, 0.99), "weight_decay": 0.2}
    chosen = Configuration(
        batch_size=10,
        micro_batch_size=micro_batch_size,
        learning_rate=0.3,
        adam=AdamSettings(**adam),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.1)
    names = {"DataLoader": DataLoader, "train_set": data, "model": model, "loss_fn": loss_fn}

    torch.manual_seed(1)
    exec("\n".join(script_lines(chosen)), names | {"optimizer": optimizer})

    torch.manual_seed(1)
    its_own = torch.optim.AdamW(twin.parameters(), lr=0.3, **adam)
    for x, y in DataLoader(data, batch_size=10, shuffle=True):
        its_own.zero_grad()
        loss_fn(twin(x), y).backward()
        its_own.step()
    torch.testing.assert_close(model.weight, twin.weight)


def test_the_end_of_another_rate_is_not_taken_for_that_of_yours() -> None:
    advice = KINDS["quality"]()
    own = advice.reference.batch_size, advice.reference.learning_rate
    others = [b for b in advice.believed if (b.batch_size, b.learning_rate) != own]
    assert len(others) < len(advice.believed)

    columns = answer_table(replace(advice, believed=tuple(others))).by_key()
    assert columns["end"][columns["which"].index("← yours")] is None


# ---- what an advice says is true of what it names, of what it compares with, and of its objective


def told_by(advice: Advice) -> dict[str, str]:
    return {sentence.topic: sentence.text for sentence in advice_sentences(advice)}


def ends_at(
    named: float, tuned: float, *, n: int = 1, scatter: float = 0.0002, **changes: object
) -> Advice:
    """Whole trainings of what is named and of the user's batch size at its best rate."""
    runs = []
    for at, end, met in ((ADVICE.named, named, 100.0), (ADVICE.reference_tuned, tuned, 400.0)):
        for seed in range(n):
            run = tried(at.batch_size, rate=at.learning_rate, met=met, seed=seed, steps=1000)
            runs.append(replace(run, end=end + scatter * (-1) ** seed))
    return with_belief(replace(ADVICE, tried=tuple(runs), chance=0.9, **changes))


@pytest.mark.parametrize(
    ("n_validation", "told"),
    [(None, "ends best"), (500, "Not known: whether"), (100, "Not known: whether")],
)
def test_few_validation_examples_do_not_tell_ends_apart(n_validation, told) -> None:
    assert told in told_by(ends_at(0.93, 0.95, n_validation=n_validation))["best end"]


def test_what_would_tell_is_a_budget_with_room_for_so_many_more_trainings() -> None:
    advice = replace(ends_at(0.9490, 0.9514, n=4, scatter=0.002), budget_s=ADVICE.spent_s)
    step_s = [ADVICE.candidate(size).step_s.estimate for size in (64, 1024)]

    minutes = int(re.search(r"--budget (\d+)m", told_by(advice)["best end"])[1])

    budgets_s = [ADVICE.spent_s + more * 1000 * sum(step_s) for more in range(1, 9)]
    assert minutes in {math.ceil(budget_s / 60) for budget_s in budgets_s}
    # A study that had this time and stopped would stop again.
    assert "--budget" not in told_by(replace(advice, budget_s=60.0 * minutes))["best end"]


def test_why_a_study_ended_early_is_said():
    ended = Step(spent_s=30, did=Reason.of("no_further_run"), why=Reason.of("promises_no_more"))
    early, late = (replace(ADVICE, steps=(ended,), spent_s=s, budget_s=60.0) for s in (30.0, 58.0))

    assert "; no further run was expected to improve" in cost_text(early)
    assert cost_text(late).endswith(" of 60 s")
