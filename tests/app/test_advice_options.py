"""What an advice may choose from: by what the model can be trained with, and by the profile."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from tests.app.conftest import about
from tests.reference.made_up import made_up_trial
from tests.reference.made_up_profile import (
    made_up_point,
    made_up_profile,
    peak_bytes,
    step_s,
    told_profile,
)
from tests.reference.tiny_workload import tiny
from torch import nn

from batchlab.advice.advice import Option
from batchlab.app.options import (
    candidates_in,
    checked_trials,
    mean_step_s,
    option_of,
    rule_multiples,
)
from batchlab.errors import BatchSizeError
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.training.optimizers import adam_settings
from batchlab.words.reasons import reason_text

# Its epochs have whole batches of 64, 90 and 128.
TRIAL = made_up_trial(batch_size=64, n_train=64 * 90)


def test_a_last_batch_that_does_not_run_is_refused():
    subject = about("sweep", tiny(), batch_sizes=(20, 32), epochs=2)
    assert len(checked_trials(subject)) == 2
    subject.summary = replace(subject.summary, last_batch_runs=False)

    with pytest.raises(BatchSizeError, match="32: the last batch of an epoch has 4 of the 100 ex"):
        checked_trials(subject)
    subject = about("sweep", tiny(), batch_sizes=(20, 32), epochs=2, drop_last=True)
    subject.summary = replace(subject.summary, last_batch_runs=False)
    assert len(checked_trials(subject)) == 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"batch_sizes": (33,)}, "batch size 33: a batch of 1 in micro-batches of 33"),
        ({"batch_sizes": (1,)}, "batch size 1: a batch of 1 in micro-batches of 1"),
        ({"batch_sizes": (50,), "micro_batch_size": 7}, "a batch of 50 in micro-batches of 7"),
        ({"batch_sizes": (30,), "micro_batch_size": 9}, "a batch of 10 in micro-batches of 9"),
    ],
)
def test_batch_norm_never_meets_a_batch_of_one_by_accident(given, told):
    subject = about("sweep", tiny(), **given)
    subject.summary = replace(subject.summary, has_batch_norm=True)

    with pytest.raises(BatchSizeError, match=told):
        checked_trials(subject)
    subject = about("advise", tiny(batch_size=50), batch_sizes=(1, 9, 10, 33))
    subject.summary = replace(subject.summary, has_batch_norm=True)
    options = candidates_in(subject, told_profile(subject.summary, step_s, subject.candidates))
    assert {option.batch_size for option in options if not option.runs} == {1, 9, 33}
    assert "BatchNorm" in reason_text(options[0].note)


def test_a_batch_in_pieces_trains_on_another_loss_where_its_loss_couples():
    subject = about("advise", tiny(), batch_sizes=(50, 100))
    subject.summary = replace(subject.summary, loss_couples=True)
    points = [made_up_point(20), too_large(50), made_up_point(50, micro_batch_size=25)]
    profile = replace(made_up_profile(*points), stopped="memory")

    whole, pieces, beyond = candidates_in(subject, profile)

    assert whole.runs
    assert pieces.note == Reason.of("does_not_fit_whole")
    assert beyond.note == Reason.of("does_not_fit")
    assert pieces.step_s.estimate is None


# ---- by a profile


def options_of(profile: Profile, *batch_sizes: int) -> list[Option]:
    return [option_of(profile, replace(TRIAL, batch_size=size)) for size in batch_sizes]


def too_large(batch_size: int) -> ProfilePoint:
    return made_up_point(batch_size, status=Status.OOM, reason="memory ran out")


def in_pieces(batch_size: int, micro_batch_size: int) -> ProfilePoint:
    return made_up_point(batch_size, micro_batch_size=micro_batch_size)


def test_a_measured_batch_size_has_its_own_time_and_memory_and_others_lie_between():
    measured, between = options_of(made_up_profile(), 64, 90)
    profile = replace(made_up_profile(), evaluation_bytes=10**12)
    (evaluated,) = options_of(profile, 64)

    assert measured.runs
    assert measured.micro_batch_size == 64
    assert measured.step_s.estimate == pytest.approx(step_s(64), rel=0.02)
    assert (measured.peak_bytes, evaluated.peak_bytes) == (peak_bytes(64), 10**12)
    assert between.runs
    assert step_s(64) < (between.step_s.estimate or 0.0) < step_s(128)
    assert between.peak_bytes == pytest.approx(peak_bytes(90), rel=0.01)


def test_a_batch_size_that_ran_too_shortly_to_be_timed_can_be_had():
    def untimed(size: int) -> ProfilePoint:
        why = Reason.of("over_too_soon", seconds=0.2)
        return replace(made_up_point(size), timing=None, reason=why, at_most_step_s=0.01)

    profile = made_up_profile(made_up_point(32), untimed(64), made_up_point(128), untimed(256))
    profile = Profile.from_json(profile.to_json())

    between, beyond = options_of(profile, 64, 256)

    assert between.runs
    assert step_s(32) < (between.step_s.estimate or 0.0) < step_s(128)
    assert beyond.runs
    assert beyond.step_s.reason.code == "over_too_soon"
    assert beyond.peak_bytes == peak_bytes(256)
    assert profile.about_step_s(256) == 0.01
    lower = replace(profile, memory_limit_bytes=peak_bytes(64))
    notes = [option.note for option in options_of(lower, 64, 128, 256)]
    assert [note and note.code for note in notes] == [None, "does_not_fit", "does_not_fit"]


@pytest.mark.parametrize(
    ("points", "stopped", "why"),
    [
        ([too_large(128), in_pieces(128, 64), in_pieces(128, 32)], None, None),
        ([too_large(128)], None, "as_written"),  # it did not run
        ([], "time", "profile_ended_before"),
        # Beyond what fits nothing is interpolated.
        ([too_large(256), in_pieces(256, 64)], "memory", "does_not_fit"),
    ],
)
def test_a_batch_fits_in_pieces_or_says_why_it_cannot_be_had(points, stopped, why):
    profile = replace(made_up_profile(made_up_point(64), *points), stopped=stopped)

    small, large = options_of(profile, 64, 128)

    assert (small.batch_size, small.micro_batch_size, small.runs) == (64, 64, True)
    assert (large.note and large.note.code) == why
    assert large.micro_batch_size == (128 if why else 64)
    if why:
        assert (large.step_s.estimate, large.peak_bytes) == (None, None)


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
    n_train, drop_last, smallest, last
):
    whole = made_up_profile()
    profile = replace(whole, points=tuple(p for p in whole.points if p.batch_size >= smallest))
    mean, n_whole = profile.step_s(128), n_train // 128
    if last is not None:
        parts = n_whole + (profile.step_s(last).estimate or 0.0) / (mean.estimate or 0.0)
        mean = mean.times(parts / (n_whole + 1))

    trial = replace(TRIAL, batch_size=128, n_train=n_train, drop_last=drop_last)
    found = mean_step_s(profile, trial)

    assert (found.estimate, found.low, found.high) == pytest.approx(
        (mean.estimate, mean.low, mean.high)
    )


@pytest.mark.parametrize(
    ("optimizer", "size", "rules"),
    [
        (torch.optim.SGD, 80, {}),
        (partial(torch.optim.Adam, betas=(0.8, 0.999)), 40, {"sde-adam": 2**0.5}),
        # With beta 1 = 0.8 the rule for Adam refuses 100, where it would not stay above 0.
        (partial(torch.optim.Adam, betas=(0.8, 0.999)), 100, {}),
    ],
)
def test_the_rules_are_multiples_of_the_reference_rate_as_far_as_they_go(optimizer, size, rules):
    subject = about("advise", tiny(), batch_sizes=(size,))
    adam = adam_settings(optimizer([nn.Parameter(torch.zeros(1))], lr=0.1))
    subject.summary = replace(subject.summary, adam=adam)

    ((_, found),) = rule_multiples(subject, [size])

    more = size / 20
    rules |= {"none": 1.0, "linear": more, "sqrt": more**0.5}
    assert dict(found) == pytest.approx(rules)
