from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reference.made_up import made_up_trial
from tests.reference.made_up_profile import made_up_point, made_up_profile, peak_bytes, step_s

from batchlab.app.options import options_of
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.words.reasons import reason_text

# Its epochs have whole batches of 64, 90 and 128.
TRIAL = made_up_trial(batch_size=64, n_train=64 * 90)


def too_large(batch_size: int) -> ProfilePoint:
    return made_up_point(batch_size, status=Status.OOM, reason="memory ran out")


def test_a_measured_batch_size_has_its_own_time_and_memory_and_others_lie_between() -> None:
    measured, between = options_of(made_up_profile(), [64, 90], trial=TRIAL)

    assert measured.runs
    assert measured.micro_batch_size == 64
    assert measured.step_s.estimate == pytest.approx(step_s(64), rel=0.02)
    assert measured.peak_bytes == peak_bytes(64)
    assert between.runs
    assert step_s(64) < (between.step_s.estimate or 0.0) < step_s(128)
    assert between.peak_bytes == pytest.approx(peak_bytes(90), rel=0.01)


def test_a_time_that_scatters_is_what_all_batch_sizes_say_and_the_law_gets_it_as_it_was() -> None:
    """One process in ten takes 40 % longer; each other batch size says that it should not."""
    points = tuple(
        replace(
            made_up_point(2**power, median_s=first_s),
            again=(made_up_point(2**power, median_s=0.01).timing,),
        )
        for power in range(10)
        for first_s in [0.014 if power == 6 else 0.0115]
    )
    profile = made_up_profile(*points)

    (option,) = options_of(profile, [64], trial=TRIAL)

    assert option.timed_s == profile.timed_s(points[6])
    assert option.step_s == profile.step_s(64)
    assert option.timed_s is not None
    assert option.timed_s.estimate == pytest.approx((0.014 * 0.01) ** 0.5)
    assert 0.0107 < (option.step_s.estimate or 0.0) < 0.0115


def test_a_batch_that_fits_in_pieces_only_comes_with_them() -> None:
    profile = made_up_profile(
        made_up_point(64),
        too_large(128),
        made_up_point(128, micro_batch_size=64),
        made_up_point(128, micro_batch_size=32),
    )

    small, large = options_of(profile, [128, 64], trial=TRIAL)

    assert (small.batch_size, small.micro_batch_size) == (64, 64)
    assert (large.batch_size, large.micro_batch_size) == (128, 64)
    assert large.runs


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        (made_up_profile(made_up_point(64), too_large(128)), "as_written"),  # it did not run
        (  # it was not reached
            replace(made_up_profile(made_up_point(64)), stopped="time"),
            "profile_ended_before",
        ),
        (  # beyond what fits nothing is interpolated
            replace(
                made_up_profile(
                    made_up_point(64), too_large(256), made_up_point(256, micro_batch_size=64)
                ),
                stopped="memory",
            ),
            "does_not_fit",
        ),
    ],
)
def test_a_batch_that_cannot_be_had_says_why(profile: Profile, why: str) -> None:
    (option,) = options_of(profile, [128], trial=TRIAL)

    assert not option.runs
    assert option.note is not None
    assert option.note.code == why
    assert (option.step_s.estimate, option.peak_bytes) == (None, None)


def test_a_batch_size_that_ran_too_shortly_to_be_timed_can_be_had() -> None:
    def untimed(size: int) -> ProfilePoint:
        why = Reason.of("over_too_soon", seconds=0.2)
        return replace(made_up_point(size), timing=None, reason=why, at_most_step_s=0.01)

    profile = made_up_profile(made_up_point(32), untimed(64), made_up_point(128), untimed(256))
    profile = Profile.from_json(profile.to_json())

    between, beyond = options_of(profile, [64, 256], trial=TRIAL)

    assert between.runs
    assert step_s(32) < (between.step_s.estimate or 0.0) < step_s(128)
    assert beyond.runs
    assert beyond.step_s.reason is not None
    assert beyond.step_s.reason.code == "over_too_soon"
    assert beyond.peak_bytes == peak_bytes(256)
    assert profile.about_step_s(256) == 0.01

    lower = replace(profile, memory_limit_bytes=peak_bytes(64))
    notes = [option.note for option in options_of(lower, [64, 128, 256], trial=TRIAL)]
    assert [note and note.code for note in notes] == [None, "does_not_fit", "does_not_fit"]


@pytest.mark.parametrize(
    ("n_train", "drop_last", "smallest", "last"),
    [
        (192, True, 1, None),
        (128, False, 1, None),
        (2 * 128 + 64, False, 1, 64),
        (128 + 3, False, 64, 64),  # below those timed it takes as long as the smallest of them
    ],
)
def test_a_smaller_last_batch_of_an_epoch_makes_its_mean_step_shorter(
    n_train: int, drop_last: bool, smallest: int, last: int | None
) -> None:
    whole = made_up_profile()
    profile = replace(whole, points=tuple(p for p in whole.points if p.batch_size >= smallest))
    trial = replace(TRIAL, n_train=n_train, drop_last=drop_last)
    timed, n_whole = profile.step_s(128), n_train // 128
    rest_s = None if last is None else profile.step_s(last).estimate

    (option,) = options_of(profile, [128], trial=trial)

    if rest_s is None:
        assert option.step_s == timed
    else:
        mean_s = (n_whole * timed.estimate + rest_s) / (n_whole + 1)
        assert option.step_s.estimate == pytest.approx(mean_s)
        assert option.step_s.high / option.step_s.low == pytest.approx(timed.high / timed.low)


def test_for_a_step_that_takes_whole_batches_pieces_are_no_way_to_fit() -> None:
    profile = replace(
        made_up_profile(
            made_up_point(64),
            too_large(128),
            made_up_point(128, micro_batch_size=64),
            too_large(256),
            made_up_point(300, status=Status.ERROR, reason="no such kernel"),
        ),
        stopped="memory",
    )

    fits, *beyond, broken, untried = options_of(
        profile, [64, 128, 256, 300, 512], trial=TRIAL, may_accumulate=False
    )

    assert fits.runs
    assert {reason_text(option.note) for option in (*beyond, untried)} == {
        "it does not fit in memory whole, and the workload's `step` takes no micro-batches"
    }
    assert not any(option.runs for option in beyond)
    assert reason_text(broken.note) == "no such kernel"
