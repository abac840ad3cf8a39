"""Profiles as records: their summaries, and their way through JSON to another machine."""

import json
import math
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from scripts.schemas import schema_text
from tests.reference.made_up_profile import (
    BYTES_PER_EXAMPLE,
    FIXED_BYTES,
    made_up_point,
    made_up_profile,
    peak_bytes,
    step_s,
)

from batchlab.errors import BatchlabError
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status


def out_of_memory(batch_size: int) -> ProfilePoint:
    return made_up_point(batch_size, status=Status.OOM, reason="memory ran out")


def test_the_step_time_of_a_size_is_its_own_or_lies_on_a_line_or_is_in_proportion():
    whole = made_up_profile()
    two = made_up_profile(
        made_up_point(64, median_s=0.01), made_up_point(256, median_s=0.04, scatter=(1.0, 1.1, 0.9))
    )
    between = two.step_s(128)

    assert whole.step_s(256).estimate == pytest.approx(step_s(256), rel=1e-3)
    # The full batch gathers nothing, so the law of the others says nothing about it.
    assert whole.step_s(2000) == made_up_point(2000).step_s
    # The smallest size that no other beats by a tenth.
    assert whole.plateau_batch_size == 1024
    assert between.estimate == pytest.approx(0.02)
    assert between.n == 3
    assert between.low < 0.02 < between.high
    outside = {two.step_s(size).reason.code for size in (1, 63, 257, 2000)}
    assert outside == {"outside_profile"}
    # Smaller steps take as long at most.
    about_s = [two.about_step_s(size) for size in (16, 64, 512)]
    assert about_s == pytest.approx([0.01, 0.01, 0.08])


def test_a_size_that_ran_both_ways_takes_its_fastest():
    pieces = made_up_point(512, micro_batch_size=128, median_s=0.1)
    profile = made_up_profile(made_up_point(64), made_up_point(512, median_s=0.2), pieces)

    assert profile.best_micro_batch(512) == pieces
    assert profile.step_s(512).estimate == pytest.approx(0.1)
    assert profile.best_micro_batch(100) is None


IN_PIECES = made_up_point(256, micro_batch_size=128)
OF_UNKNOWN_PEAK = replace(made_up_point(64), peak_bytes=None)
LARGEST: dict[str, tuple[tuple[ProfilePoint, ...], int | None, int | None]] = {
    "in one piece": ((made_up_point(128), out_of_memory(256), IN_PIECES), None, 128),
    "by peaks under another limit": ((), peak_bytes(300), 256),
    "without a limit of any peak": ((OF_UNKNOWN_PEAK,), None, 64),
    "under a limit of a known peak": ((OF_UNKNOWN_PEAK,), 10**12, None),
    "none": ((out_of_memory(1),), None, None),
}


@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_batch_size_ran_in_one_piece_within_the_limit(name):
    points, limit_bytes, expected = LARGEST[name]

    profile = made_up_profile(*points, memory_limit_bytes=limit_bytes)

    assert profile.largest_batch_size == expected
    assert (profile.plateau_batch_size is None) == (expected is None)
    assert (profile.step_s(expected or 1).estimate is None) == (expected is None)


def test_the_full_batch_counts_only_if_there_were_no_law_without_it():
    """It gathers nothing, so it takes less time and memory than the others say."""
    full = made_up_point(2000, median_s=0.5 * step_s(2000))
    points = [made_up_point(2**power) for power in range(11)]

    profile = made_up_profile(*points, replace(full, peak_bytes=FIXED_BYTES))

    assert 2000 not in profile.step_time.batch_sizes
    assert profile.step_time.step_s(2000).estimate == pytest.approx(step_s(2000), rel=1e-3)
    per_example = profile.memory.bytes_per_example
    assert per_example.estimate == pytest.approx(BYTES_PER_EXAMPLE, rel=1e-6)
    few = made_up_profile(*map(made_up_point, (8, 64, 2000)))
    assert few.step_time.batch_sizes == (8, 64, 2000)


# JSON


def test_a_profile_comes_back_from_json_as_it_was():
    profile = made_up_profile(
        made_up_point(1, status=Status.ERROR, reason="one example"),
        replace(made_up_point(2), again=(made_up_point(2, median_s=0.01).timing,)),
        replace(made_up_point(4), status=Status.OOM, reason=Reason.as_written("above the limit")),
        made_up_point(4, micro_batch_size=2),
        memory_limit_bytes=10**9,
    )

    jsonschema.validate(json.loads(profile.to_json()), json.loads(schema_text(Profile)))
    assert Profile.from_json(profile.to_json()) == profile
    # What a later version adds or can be computed is not read.
    document = profile.to_dict() | {"more": 1, "largest_batch_size": 7}
    document["points"][0] |= {"more": {"a": 1}, "step_s": {"estimate": 99.0}}
    assert Profile.from_json(json.dumps(document)) == profile


def damaged(*path: str | int, to: object) -> str:
    whole = document = made_up_profile().to_dict()
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = to
    return json.dumps(whole)


WHOLE = made_up_profile().to_json()
NO_DOCUMENTS = ("", WHOLE[:500], WHOLE[:-2], "[]", "null", "{}", "NaN", '{"schema": "1"}', "1e9")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *((text, "this is not a profile of batchlab") for text in (*NO_DOCUMENTS, b"\xff\xfe")),
        (WHOLE.replace('"points"', '"pints"'), "missing required field `points`"),
        (damaged("command", to="sweep"), "its command is 'sweep', not 'profile'"),
        (damaged("schema", to=2), "reads schema 1, not 2"),
        (damaged("points", 0, "batch_size", to="1"), r"\$.points\[0\].batch_size"),
        (damaged("points", 2, "peak_bytes", to=-1), r"\$.points\[2\].peak_bytes"),
        (damaged("points", 2, "timing", "block_s", 0, to=0.0), r"\$.points\[2\].timing.block_s"),
        (damaged("workload", "n_train", to=0), r"\$.workload.n_train"),
        (damaged("memory_limit_bytes", to=0), r"\$.memory_limit_bytes"),
    ],
)
def test_a_damaged_document_is_refused_in_one_line_that_names_the_field(text, said):
    with pytest.raises(BatchlabError, match=said) as caught:
        Profile.from_json(text)

    assert "batchlab profile --json" in str(caught.value)
    assert "\n" not in str(caught.value)


# Blocks


def test_the_step_time_is_the_median_over_the_blocks():
    point = made_up_point(100, scatter=(1.0, 1.0, 1.0, 1.0, 9.0), median_s=0.5)

    assert point.step_s.estimate == pytest.approx(0.5)
    assert point.step_s.n == 5
    assert point.samples_per_s == pytest.approx(200)
    of_one_block = made_up_point(100, scatter=(1.0,)).step_s
    assert (of_one_block.low, of_one_block.high, of_one_block.n) == (None, None, 1)


@pytest.mark.parametrize("n", [2, 3, 5, 6, 8, 12, 20])
def test_the_interval_of_a_step_time_holds_the_truth_95_times_in_100(n):
    rng = np.random.default_rng(0)
    n_draws, n_held = 1000, 0
    for _ in range(n_draws):
        step = made_up_point(64, scatter=np.exp(rng.normal(0.0, 0.1, n)).tolist()).step_s
        n_held += step.holds(step_s(64))

    # At least 95 %, less four standard errors of 1000 draws; order statistics give more.
    assert n_held / n_draws > 0.95 - 4 * math.sqrt(0.95 * 0.05 / n_draws)
