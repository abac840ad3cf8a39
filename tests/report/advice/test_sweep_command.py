"""The sweep that shows what the runs of an advice do not."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from tests.reference.made_up_advice import advice_study, cannot_tell_advice, made_up_advice

from batchlab.advice.advice import Advice
from batchlab.cli.sweep import sweep
from batchlab.report.advice_effects import SweepCommand, effects_of, sweep_command

ADVICE = made_up_advice(sizes=(16, 64, 256, 1024))


def command(advice: Advice = ADVICE, asked: str = "batchlab advise made-up") -> SweepCommand:
    study = replace(advice_study(advice), command=asked)
    return sweep_command(advice, study, effects_of(advice, study))


def test_it_trains_the_ends_yours_and_what_is_named_at_the_best_rates_known_of_them():
    found = command()

    assert (found.n_trainings, found.epochs) == (9, 12)
    assert found.command == (
        "batchlab sweep made-up --batch-sizes 16,64,1024 --learning-rates 0.022,0.05,0.26 "
        "--epochs 12 --report batch-sizes.html"
    )


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("batchlab advise", []),
        (
            "batchlab advise a.py:f --budget 3m --store s.db --report a.html",
            ["a.py:f", "--store", "s.db"],
        ),
        ("batchlab advise --trainings=4 a.py:f --set=width=64", ["a.py:f", "--set=width=64"]),
        (
            "batchlab advise 'my file.py:f' --drop-last --explain --json --device cuda:0",
            ["my file.py:f", "--drop-last", "--device", "cuda:0"],
        ),
        (
            "batchlab advise x --objective time --target accuracy=0.9 --batch-sizes 64,256 "
            "--epochs 3 --memory-limit 2GiB --profile p.json --train-time 60s --quiet "
            "--sampling replacement --set a=1 --set b=2",
            ["x", "--sampling", "replacement", "--set", "a=1", "--set", "b=2"],
        ),
    ],
)
def test_of_the_command_that_asked_it_keeps_what_a_sweep_takes_too(asked, kept):
    words = shlex.split(command(asked=asked).command)

    assert words[: 2 + len(kept)] == ["batchlab", "sweep", *kept]
    assert words[2 + len(kept)] == "--batch-sizes"


def test_a_sweep_takes_all_of_it():
    asked = "batchlab advise x --set a=1 --sampling replacement --drop-last --device cpu"
    words = shlex.split(command(asked=asked).command)

    taken = sweep.make_context("sweep", words[2:]).params

    assert taken["workload"] == "x"
    assert taken["epochs"] == 12


def test_a_call_in_python_is_answered_by_one():
    assert command(asked="batchlab.advise('mine', ...)").command == (
        "batchlab.sweep(workload, batch_sizes=[16, 64, 1024], "
        "learning_rates=[0.022, 0.05, 0.26], epochs=12)"
    )


def test_of_one_batch_size_alone_it_trains_one_four_times_as_large_at_twice_the_rate_too():
    advice = cannot_tell_advice()
    own = tuple(run for run in advice.tried if run.batch_size == 64)

    found = command(replace(advice, tried=own, provisional=None))

    assert "--batch-sizes 64,256 --learning-rates 0.05,0.1 " in found.command


def test_nor_one_that_does_not_fit():
    advice = made_up_advice(sizes=(64, 128, 256), does_not_fit=(256,))
    own = tuple(run for run in advice.tried if run.batch_size == 64)
    keeps = replace(advice, tried=own, recommendation=None)

    assert "--batch-sizes 64,128 " in command(keeps).command
