"""Laws: why a law, an interval or a plateau is what it is, or can't be told."""

from __future__ import annotations

from batchlab.words.message import Message

MESSAGES: dict[str, Message] = {
    # The law of steps to target.
    "two_sizes_always_fit": (
        "two batch sizes always fit a law of two parameters; give at least three at which every "
        "run reached the target"
    ),
    "no_seeds_repeated": (
        "no batch size was run with more than one seed, so how far seeds scatter is not known; "
        "give two or more seeds"
    ),
    "target_never_always_reached": "there is no batch size at which every run reached the target",
    "steps_not_measured": (
        "steps at batch size {at:.6g} are not known: they were measured from {smallest} to "
        "{largest}, and no law leads beyond; measure there"
    ),
    "law_does_not_hold": (
        "the law S_min (1 + B_crit/B) does not hold here (p = {p_value:.2g}). Its exponent would "
        "be {exponent:.2f} ({low} to {high}); use the measured points"
    ),
    "bound": "{value:.2f}",
    "no_bound": "unknown",
    "s_min_not_told": (
        "S_min may be 0: the steps do not level off up to batch size {largest:.6g}; larger batch "
        "sizes would tell"
    ),
    "e_min_not_told": (
        "E_min may be 0: the steps do not fall from batch size {smallest:.6g} on; smaller batch "
        "sizes would tell"
    ),
    "steps_scatter": (
        "the steps from batch size {smallest:.6g} to {largest:.6g} scatter too much to tell "
        "whether they fall; more seeds or a wider range would tell"
    ),
    "b_crit_beyond_largest": (
        "the estimate lies beyond the largest measured batch size, {largest:.6g}, so B_crit is at "
        "least {low:.4g}; larger batch sizes would tell"
    ),
    "b_crit_below_smallest": (
        "the estimate lies below the smallest measured batch size, {smallest:.6g}, so B_crit is "
        "at most {high:.4g}; smaller batch sizes would tell"
    ),
    "exponent_needs_four": "an exponent needs at least 4 different batch sizes, given {n}",
    "no_law_fitted": "no law was fitted; use the measured points",
    "samples_do_not_grow": (
        "the samples to the target do not grow up to batch size {largest}, so it is at least "
        "{low:.4g}; larger batch sizes would tell"
    ),
    # The laws of step time and memory, and power laws.
    "step_time_never_flat": (
        "step time grows from batch size {smallest} on, so the time of an empty step may be 0; "
        "smaller batch sizes would tell"
    ),
    "step_time_flat": (
        "step time is flat up to batch size {largest}, so the time of one example may be 0; "
        "larger batch sizes would tell"
    ),
    "step_times_scatter": (
        "step times from batch size {smallest} to {largest} scatter too much to tell where they "
        "begin to grow; a quieter machine or a wider range would tell"
    ),
    "knee_beyond_largest": (
        "the estimate lies beyond the largest measured batch size, {largest}, so the knee is at "
        "least {low:.4g}; larger batch sizes would tell"
    ),
    "knee_below_smallest": (
        "the estimate lies below the smallest measured batch size, {smallest}, so the knee is at "
        "most {high:.4g}; smaller batch sizes would tell"
    ),
    "memory_at_too_few": (
        "only {n} batch sizes have a peak; a line needs two, and three for an interval: profile "
        "more"
    ),
    "power_law_needs_two": (
        "{n} points at fewer than 2 different values; a power law needs 2, and 3 for bounds"
    ),
    # Means.
    "no_trial_ended_well": "no trial ended well; run one that does",
    # The gradient noise scale.
    "gradient_lost_in_noise": (
        "the gradient is lost in the noise of {n} examples: |G|² = {value:.3g} (95 %: {low:.3g} "
        "to {high:.3g}); about {n_needed} examples would tell"
    ),
    "gradient_lost_in_batches": (
        "the gradient is lost in the noise of {n} batches; more batches would tell"
    ),
    "gradient_not_finite": (
        "the gradient has values that are not finite; lower the learning rate or look at the loss"
    ),
    "loss_not_finite": "the loss was not finite after step {step}",
    "noise_out_of_time": "the budget ended before step {step} was measured",
    # Plateaus.
    "no_level_after_bad_end": "the trial ended as {status:term}, so there is no level to reach",
    "no_validation_at_epoch_end": (
        "there is no validation {metric} at an epoch's end, and a plateau is judged on it; train "
        "with a validation set and for whole epochs"
    ),
    "flat_as_untrained": (
        "validation {metric} is flat, but only {gained:.3g} better than that of the untrained "
        "model. Training may not have begun to work; try a higher learning rate or more epochs"
    ),
    "curve_too_short": "{n} points are too few: at least {needed} epochs are needed",
    "curve_has_turned": "the curve got worse again, so no fitted law can describe it",
    "worse_since_best": "best near epoch {epoch}, and since then worse by more than {delta:.3g}",
    "epochs_to_bring": (
        "{horizon} more epochs should bring {gain:.3g} (95 %: {low:.3g} to {high:.3g}), where "
        "{delta:.3g} would count"
    ),
    "plateau_reached": "reached at epoch {epoch}: {expected}",
    "plateau_not_yet": "not yet: {expected}",
    "plateau_open": (
        "{expected}: too wide to call; more epochs or a larger validation set would tell"
    ),
}
