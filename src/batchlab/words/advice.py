"""Advice: what every code of an advice says: its answer, and the steps on the way to it."""

from __future__ import annotations

ADVICE: dict[str, str] = {
    # ---- Advice: why the answer is what it is, and what limits it.
    # The verdict.
    "best_of_likely_no_worse": (
        "of all that is likely to do as well as the reference, batch size {size} is the best "
        "choice by all runs together"
    ),
    "nothing_likely_better": "nothing else that was trained is likely to be a better choice",
    "nearest_not_likely": (
        "nothing else that was trained is likely to be as fast and to end as well. {size} at "
        "{rate:rate} comes nearest: {tenths} in 10"
    ),
    "risk_outweighs": (
        "batch size {size} at learning rate {rate:rate} is likely no slower and ends no worse "
        "(about {tenths} in 10), but its risks weigh more than the time it saves"
    ),
    "follow_configuration": "follow batch size {size} at rate {rate:rate}, seed {seed}",
    "train_configuration": "train batch size {size} at rate {rate:rate}, seed {seed}",
    "size_not_seen": "no run of this batch size was seen yet",
    "promises": (
        "of all runs this one is expected to improve the answer most for its seconds; it takes "
        "about {cost_s:train_s}"
    ),
    "to_confirm": "nothing promises more, so the comparison is confirmed",
    "none_met": (
        "no run met the target {metric} {value:metric {metric}}; the best one came to "
        "{best:metric {metric}}. Give an "
        "easier --target, or a larger --budget"
    ),
    "every_run_failed": "every run diverged or failed",
    "no_distance_from_perfect": "the distance of {metric} from perfect is not known",
    "missed_the_level": "it was trained for {steps} steps, and did not meet the target",
    "stopped_when_slower": (
        "it was stopped after {steps} steps, when it was slower than the fastest"
    ),
    "steps_off_the_law": (
        "the steps lie further from S = S_min (1 + B_crit / B) than their scatter explains"
    ),
    "steps_still_fall": "the steps still fall at the largest batch sizes",
    "asked_to_compare": "to see whether it may be faster",
    "asked_to_train_whole": "to see how it ends, or how far seeds scatter",
    "no_whole_training": "no whole training of it was run",
    "reference_overfits": (
        "the reference overfits: it gets worse again. So its best level counts; stop it there"
    ),
    # What stopped the study.
    "reference_cannot_run": "the reference batch size {size} does not run: {why}",
    "budget_ended_before_reference": (
        "the budget ended before your own settings had been trained once"
    ),
    "every_pilot_failed": (
        "neither your own configuration nor any other learning rate that was tried trains: {why}"
    ),
    "no_pilot_learned": (
        "no first run learned anything in {steps} steps, with learning rates from {low:rate} to "
        "{high:rate}; try a larger budget, or look at the data, the model and the loss"
    ),
    "hardly_learns": (
        "your configuration hardly learns: after {epochs:.3g} epochs the best validation {metric} "
        "is {value:metric {metric}}, and the first was {first:metric {metric}}"
    ),
    "own_fails": "your own configuration does not train: {why}",
    "another_rate_learns": (
        "{why}. With learning rate {rate:rate} it gets to {value:metric {metric}}"
    ),
    # The gain.
    "nothing_to_compare": "there is no recommendation to compare",
    # Candidates.
    "not_trained": "it was not trained",
    "peak_not_reported": "this device does not report it",
    "does_not_fit": "it does not fit in memory",
    "does_not_fit_whole": (
        "it does not fit in memory whole, and the workload's `step` takes no micro-batches"
    ),
    "profile_ended_before": "it was not profiled: the time for that had ended",
    "smaller_did_not_run": "it was not profiled: the batch sizes before it did not run",
    "not_profiled": "it was not profiled",
    "between_two_timed": "it lies between two that were timed",
    # The laws of the study.
    "timed_at_fewer_than_three": "fewer than 3 batch sizes were timed in one piece",
    # Caveats.
    "easier_than_plateau": (
        "the target is {metric} {value:metric {metric}}, easier than what a whole training ends "
        "with, because the budget does not reach further. A harder target usually has a larger "
        "critical batch size"
    ),
    "at_the_edge": (
        "at batch size {size} training diverged with learning rate {above:rate}. {n:Only one seed "
        "was run with {rate:rate}: should it diverge,|With {rate:rate}, {held} of # seeds held, so "
        "up to {share:whole_percent} of trainings may diverge (95 %): then} halve the rate"
    ),
    "marks_too_wide": (
        "{metric} is seen so seldom that the time to the target is hardly known: tell it about "
        "{n:once|# times} an epoch"
    ),
    "profile_from_elsewhere": (
        "step times and memory are those of {there} (the profile given). Steps were counted here, "
        "on {here}, and nothing was verified there"
    ),
    "times_of_machine": (
        "step times and memory are those of {there}, so times are for it, wherever the trainings "
        "ran"
    ),
    "target_is_early": (
        "validation {metric} {value:metric {metric}} is met after {epochs:.2g} of the "
        "{whole:.3g} epochs of a whole training, too early for times to tell anything. To compare "
        "ends, ask for objective quality"
    ),
    "compared_by_examples": (
        "no step time of batch size {sizes} is known: {why}. So batch sizes are compared by how "
        "many examples they need, and not by time"
    ),
    "profile_of_another_version": (
        "the profile given is of another version of this workload, with other source, settings or "
        "data, or on another number of devices"
    ),
    "rate_followed_schedule": (
        "the learning rate followed the workload's own schedule over {epochs} epochs: the answer "
        "holds for trainings of that length"
    ),
    "rate_left_to_script": (
        "Whether the script changes its learning rate along a training is not known: the answer "
        "holds for its way of doing so."
    ),
    "rate_was_constant": (
        "the learning rate was constant in all runs; under a schedule other rates may be best"
    ),
    "devices_share_batches": (
        "batch sizes and step times are those of {n} devices together; each takes an equal part "
        "of every batch"
    ),
    "evaluation_needs_more": (
        "the peak memory is that of an evaluation, {whole:peak_bytes}; a training step with your "
        "batch size takes {step:peak_bytes}"
    ),
    "few_validation_examples": (
        "validation has {n} examples: small differences in {metric} may be theirs alone. Hold out "
        "more"
    ),
    "differences_not_told": (
        "validation has {n} examples, so differences in {metric} below about {least:.1g} cannot be "
        "told: as many others may turn them round. Hold out more"
    ),
    "seeds_draw_examples": (
        "each seed draws its own {n} examples for validation, the same at every batch size: so "
        "intervals hold the luck of the examples too"
    ),
    "loss_couples": (
        "the loss couples the examples of a batch: another batch size trains on another loss. "
        "Accumulation does not undo that"
    ),
    "losses_not_comparable": (
        "the loss couples the examples of a batch, so every batch size trains on another loss and "
        "their losses cannot be compared. Give the workload a metric over a fixed set of "
        "examples, such as retrieval or a probe. If the loss is a mean over other units, let "
        "weight say over which"
    ),
    "pieces_train_on_another_loss": (
        "it fits in micro-batches of {size} only, which train on another loss: this one couples "
        "the examples of a batch"
    ),
    "model_has_batch_norm": (
        "the model has BatchNorm, which takes its mean from the micro-batch: at another batch "
        "size you train another function. Accumulation does not undo that"
    ),
    # ---- Advice steps: what the advice did, and why it did it.
    # The target.
    "pilot": "pilot: train the reference for up to {epochs:.1f} epochs",
    "pilot_sets_target": "no target was given: what this run ends with sets one",
    "pilot_at_other_rates": "pilot at other rates",
    "nothing_learned_at": "nothing was learned at {rate:rate}",
    "target_set": "target: {metric} {value:metric {metric}}",
    "pilot_was_cut": (
        "the budget cut the first run after {epochs:.3g} of the {planned:.3g} epochs planned"
    ),
    "pilot_without_plateau": "the first run was not seen to reach a plateau: {why}",
    "ends_at_plateau": (
        "nearly as well as the reference batch size ends: its plateau is {level:metric {metric}}"
    ),
    "ends_before_overfitting": (
        "nearly as well as the reference batch size at its best: it gets worse after "
        "{level:metric {metric}}, the mean of its best evaluations in a row"
    ),
    "ends_as_planned": (
        "nearly as well as the reference batch size ends: it ends at {level:metric {metric}}"
    ),
    # What a round of runs is to tell, while it is under way.
    "asked_for_end": "where does the reference end?",
    # Before the answer.
    "time_in_turn": "time steps of batch sizes {size} and {other} once more, in turn",
    "load_falls_on_both": "what else the machine does falls on both alike",
}
