from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchlab.errors import UsageError
from batchlab.script.command import PLACEHOLDERS, filled_arguments, placeholders_of


def filled(*argv: str, **values: object) -> list[str]:
    return filled_arguments(argv, {"batch_size": 32, **values})  # type: ignore[dict-item]


def test_placeholders_become_arguments_and_never_shell_text() -> None:
    done = filled("train", "{batch_size}", "--out={output_dir}", output_dir=Path("/a b/$(rm); 'c'"))

    assert done == ["train", "32", "--out=/a b/$(rm); 'c'"]


@given(rate=st.floats(min_value=1e-300, max_value=1e300), size=st.integers(1, 10**15))
def test_argparse_reads_back_exactly_what_was_given(rate: float, size: int) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.add_argument("--bs", type=int)

    read = parser.parse_args(
        filled("--lr={learning_rate}", "--bs", "{batch_size}", learning_rate=rate, batch_size=size)
    )

    assert (read.lr, read.bs) == (rate, size)


def test_a_count_has_no_point_and_a_numpy_number_no_type() -> None:
    import numpy as np

    done = filled(
        *("{batch_size}", "{epochs}", "{learning_rate}"),
        batch_size=np.int64(8),
        epochs=3.0,
        learning_rate=np.float64(0.1),
    )

    assert done == ["8", "3", "0.1"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("{{batch_size}}", "{batch_size}"),
        ("{{anything}}", "{anything}"),
        ('{"bs": {batch_size}}', '{"bs": 32}'),
        ('{"a":{"bs":{batch_size}}}', '{"a":{"bs":32}}'),
        *(
            (each, each)
            for each in (
                '{"a": {"b": 1}}',
                '{"a":{"b":{}}}',
                "{}",
                "{0}",
                "{a b}",
                "${oc.env:HOME}",
                "${data_dir}",
                "{HOME}",
                "a}}{{b",
                "x={1..3}",
            )
        ),
    ],
)
def test_braces_of_others_pass_and_doubled_ones_stand_for_themselves(given: str, text: str) -> None:
    assert filled("{batch_size}", given) == ["32", text]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("{steps}", r"no value for \{steps\}"),
        ("{epochs}", r"\{epochs\} is a whole number, not 1.5"),
    ],
)
def test_a_value_that_a_placeholder_cannot_take_is_refused(argument: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        filled("{batch_size}", argument, epochs=1.5)


@pytest.mark.parametrize(
    ("argv", "first", "later"),
    [
        (["--resume", "{resume_from}"], [], ["--resume", "/c"]),
        (["--resume={resume_from}"], [], ["--resume=/c"]),
        (["+ckpt_path={resume_from}"], [], ["+ckpt_path=/c"]),
        (["--fast", "--resume={resume_from}"], ["--fast"], ["--fast", "--resume=/c"]),
        (["fit", "{resume_from}"], ["fit"], ["fit", "/c"]),
        (["--x=1", "{resume_from}"], ["--x=1"], ["--x=1", "/c"]),
    ],
)
def test_with_nothing_to_resume_from_its_argument_and_flag_are_left_out(
    argv: list[str], first: list[str], later: list[str]
) -> None:
    assert filled("{batch_size}", *argv, resume_from=None) == ["32", *first]
    assert filled("{batch_size}", *argv, resume_from="/c") == ["32", *later]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["python", "train.py"], "no placeholder for the batch size"),
        (["train", "{micro_batch_size}"], r"without \{accumulation_steps\}"),
        (["train", "{batchsize}"], r"unknown placeholder \{batchsize\}.*mean \{batch_size\}\?"),
        (["train", "{batch_size}", "{lr}"], r"\{lr\}.*did you mean \{learning_rate\}\?"),
        (["train", "{batch_size}", "{zzz}"], r"there are \{batch_size\}, .*write \{\{zzz\}\}"),
        (["train", "{batch_size}", "{config}"], "there is no template for it"),
        (["python train.py --bs {batch_size}"], "one argument with spaces"),
        ([], "there is no command"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(argv: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        placeholders_of(argv, None)

    assert "\n" not in str(refused.value)


def test_the_batch_size_may_be_in_micro_batches_or_in_the_configuration() -> None:
    both = {"micro_batch_size", "accumulation_steps"}

    assert placeholders_of([f"{{{name}}}" for name in both], None) == both
    assert placeholders_of(["t", "{config}"], {"batch_size"}) == {"config", "batch_size"}


def test_every_placeholder_can_be_used() -> None:
    argv = [f"{{{name}}}" for name in PLACEHOLDERS]

    assert placeholders_of(argv, ()) == {*PLACEHOLDERS}
    assert filled_arguments(argv, dict.fromkeys(PLACEHOLDERS, 1)) == [
        "1.0" if name == "learning_rate" else "1" for name in PLACEHOLDERS
    ]
