"""Caveats: statements for the user on the limits of an advice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from batchlab.advice.advice import Advice, Option
from batchlab.app.options import why_untimed
from batchlab.app.subject import Subject
from batchlab.measure.profile import Profile
from batchlab.records.estimate import Reason
from batchlab.records.study import WorkloadSummary
from batchlab.workload.given_data import FEW_EXAMPLES

# A target is early if a run reaches it within the share `_EARLY` of the epochs of a training. If a
# training has at least `_MANY_EPOCHS` epochs, a target reached in the first epoch is early, too.
_EARLY, _MANY_EPOCHS = 1 / 20, 10


def caveats_of(
    advice: Advice, subject: Subject, here: Profile, options: Sequence[Option]
) -> tuple[Reason, ...]:
    """Return the advisor's caveats, and further caveats on step times, data, target and model."""
    return (
        *_origin_of_times(subject, here),
        *_few_examples(advice, subject),
        *_early_target(advice, subject),
        *_decay_stayed(advice, subject.summary),
        *advice.caveats,
        *_of_the_subject(subject, has_runs=bool(advice.tried)),
        *_without_times(subject, options),
    )


def _decay_stayed(advice: Advice, summary: WorkloadSummary) -> Iterator[Reason]:
    """Yield a caveat if the recommendation changes weight decay per epoch by a factor >= 2."""
    named, reference = advice.named, advice.reference
    if named is None:
        return
    stays = summary.has_weight_decay and summary.adam is None
    share = named.learning_rate / reference.learning_rate
    share /= named.batch_size / reference.batch_size
    if stays and max(share, 1 / share) >= 2:
        size, rate = named.batch_size, named.learning_rate
        yield Reason.of("weight_decay_stayed", size=size, rate=rate, share=share)


def _origin_of_times(subject: Subject, here: Profile) -> Iterator[Reason]:
    """Yield caveats if step times are from another machine or of another workload version."""
    question = subject.question
    elsewhere = question.profile
    there = (elsewhere or here).device_name
    if question.cluster is not None:
        yield Reason.of("times_of_machine", there=there)
    elif elsewhere is not None:
        yield Reason.of("profile_from_elsewhere", there=there, here=here.device_name)
    workload_id = subject.summary.workload_id
    if elsewhere is not None and elsewhere.workload.workload_id != workload_id:
        yield Reason.of("profile_of_another_version")


def _few_examples(advice: Advice, subject: Subject) -> Iterator[Reason]:
    """Yield a caveat, if there are few validation examples, that small differences may be chance.

    A weighted loss gets no caveat, because the number of examples does not determine its error.
    """
    n = subject.summary.n_validation
    if advice.tried and n and n < FEW_EXAMPLES and not subject.weighs_examples:
        yield Reason.of("few_validation_examples", n=n, metric=advice.metric)


def _early_target(advice: Advice, subject: Subject) -> Iterator[Reason]:
    """Yield a caveat if the recommended or the reference batch size reached the target early."""
    named, level = advice.named, advice.target
    whole: float | None = subject.epochs
    if not whole and advice.end_quality is not None:
        whole = advice.end_quality.own_epochs
    if named is None or level is None or whole is None or advice.target_origin == "easier":
        return
    sizes = (named.batch_size, advice.reference.batch_size)
    samples = []
    for c in advice.candidates:
        if c.batch_size in sizes:
            samples.append(c.samples_to_target.estimate)
    epochs = min(filter(None, samples), default=math.inf) / subject.summary.n_train
    early = _EARLY * whole
    if whole >= _MANY_EPOCHS:
        early = max(early, 1.0)
    if epochs <= early:
        metric, value = level.metric, level.value
        yield Reason.of("target_is_early", metric=metric, value=value, epochs=epochs, whole=whole)


def _of_the_subject(subject: Subject, *, has_runs: bool) -> Iterator[Reason]:
    summary, trial = subject.summary, subject.reference
    if trial.world_size > 1:
        yield Reason.of("devices_share_batches", n=trial.world_size)
    if not has_runs:
        pass  # Nothing was trained, so there is nothing to say about the learning rate.
    elif trial.horizon_steps:
        yield Reason.of("rate_followed_schedule", epochs=subject.epochs)
    elif summary.is_own_command:
        yield Reason.of("rate_left_to_script")
    else:
        yield Reason.of("rate_was_constant")
    if summary.draws_by_seed:
        yield Reason.of("seeds_draw_examples", n=summary.n_validation)
    if summary.loss_couples and subject.why_not_comparable is None:
        yield Reason.of("loss_couples")
    if summary.has_batch_norm:
        yield Reason.of("model_has_batch_norm")


def _without_times(subject: Subject, options: Sequence[Option]) -> Iterator[Reason]:
    """Yield a caveat if step times are missing, so that numbers of examples are compared."""
    reasons = {option.batch_size: why_untimed(option) for option in options}
    untimed = [size for size, reason in reasons.items() if reason is not None]
    if untimed and subject.question.objective == "time":
        sizes = ", ".join(map(str, untimed))
        yield Reason.of("compared_by_examples", sizes=sizes, why=reasons[untimed[0]])
