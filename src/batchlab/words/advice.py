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
    "size_not_seen": "this batch size has not been run yet",
    "promises": (
        "of all runs this one is expected to improve the answer most for its seconds; it takes "
        "about {cost_s:train_s}"
    ),
    "to_confirm": "nothing promises more, so the comparison is confirmed",
    "none_met": (
        "no run met the target {metric} {value:metric {metric}}; the best one came to "
        "{best:metric {metric}}. Give an easier --target, or a larger --budget"
    ),
    "every_run_failed": "every run diverged or failed",
    "no_distance_from_perfect": "the distance of {metric} from perfect is not known",
    "missed_the_level": "it was trained for {steps} steps, and did not meet the target",
    "stopped_when_slower": "it was stopped after {steps} steps, slower than the fastest",
    "steps_off_the_law": (
        "the steps lie further from S = S_min (1 + B_crit / B) than their scatter explains"
    ),
    "steps_still_fall": "the steps still fall at the largest batch sizes",
    "asked_to_compare": "to see whether it may be faster",
    "asked_to_train_whole": "to see how it ends, or how far seeds scatter",
    "no_whole_training": "no whole training of it was run",
    "reference_overfits": (
        "the reference gets worse again (it overfits), so its best level counts; stop it there"
    ),
    # What stopped the study.
    "reference_cannot_run": "the reference batch size {size} does not run: {why}",
    "budget_ended_before_reference": "the budget ended before your own settings were trained once",
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
    "another_rate_learns": "{why}. At learning rate {rate:rate} it gets to {value:metric {metric}}",
    "nothing_to_compare": "there is no recommendation to compare",
    # Candidates and laws.
    "not_trained": "it was not trained",
    "peak_not_reported": "this device does not report it",
    "does_not_fit": "it does not fit in memory",
    "does_not_fit_whole": (
        "it does not fit in memory whole, and the workload's `step` takes no micro-batches"
    ),
    "profile_ended_before": "it was not profiled: the time for that had ended",
    "smaller_did_not_run": "it was not profiled: the batch sizes before it did not run",
    "not_profiled": "it was not profiled",
    "timed_at_fewer_than_three": "fewer than 3 batch sizes were timed in one piece",
    # Caveats.
    "easier_than_plateau": (
        "the target, {metric} {value:metric {metric}}, is easier than the end of a whole training, "
        "which the budget does not reach. A harder target usually has a larger critical batch "
        "size"
    ),
    "at_the_edge": (
        "at batch size {size} training diverged with learning rate {above:rate}. {n:Only one seed "
        "was run with {rate:rate}: should it diverge,|With {rate:rate}, {held} of # seeds held, so "
        "up to {share:whole_percent} of trainings may diverge (95 %): then} halve the rate"
    ),
    "marks_too_wide": (
        "{metric} is reported so seldom that the time to the target is hardly known; report it "
        "about {n:once|# times} an epoch"
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
        "validation {metric} {value:metric {metric}} is met after {epochs:.2g} of the {whole:.3g} "
        "epochs of a whole training, too early to compare times. To compare ends, ask for "
        "objective quality"
    ),
    "compared_by_examples": (
        "the step time of batch size {sizes} is not known: {why}. So batch sizes are compared by "
        "the examples they need, not by time"
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
        "the script may change its learning rate along a training, and the answer holds for the "
        "way it does"
    ),
    "rate_was_constant": (
        "the learning rate was constant in all runs; under a schedule other rates may be best"
    ),
    "devices_share_batches": (
        "batch sizes and step times are those of {n} devices together, which share every batch "
        "equally"
    ),
    "evaluation_needs_more": (
        "the peak memory is that of an evaluation, {whole:peak_bytes}; a training step with your "
        "batch size takes {step:peak_bytes}"
    ),
    "few_validation_examples": (
        "validation has only {n} examples, so small differences in {metric} may be chance. Hold "
        "out more"
    ),
    "differences_not_told": (
        "validation has only {n} examples, so differences in {metric} below about {least:.1g} may "
        "be chance. Hold out more"
    ),
    "seeds_draw_examples": (
        "each seed draws its own {n} examples for validation, so intervals include the luck of "
        "that draw"
    ),
    "loss_couples": (
        "the loss couples the examples of a batch, so another batch size trains on another loss, "
        "even with accumulation"
    ),
    "losses_not_comparable": (
        "the loss couples the examples of a batch, so the losses of two batch sizes cannot be "
        "compared. Give the workload a metric over a fixed set of examples, such as retrieval or a "
        "probe. If the loss is a mean over other units, let `weight` say over which"
    ),
    "pieces_train_on_another_loss": (
        "it fits only in micro-batches of {size}, which train on another loss: the loss couples "
        "the examples of a batch"
    ),
    "model_has_batch_norm": (
        "the model has BatchNorm, which takes its mean from the micro-batch, so another batch size "
        "trains another function, even with accumulation"
    ),
    # ---- Advice steps: what the advice did, and why it did it.
    # The target.
    "pilot": "pilot: train the reference for up to {epochs:.1f} epochs",
    "pilot_sets_target": "no target was given, so the end of this run sets one",
    "pilot_at_other_rates": "pilot at other rates",
    "nothing_learned_at": "nothing was learned at {rate:rate}",
    "target_set": "target: {metric} {value:metric {metric}}",
    "pilot_was_cut": (
        "the budget cut the first run after {epochs:.3g} of the {planned:.3g} epochs planned"
    ),
    "pilot_without_plateau": "the first run was not seen to reach a plateau: {why}",
    "as_well_as_reference": (
        "nearly as well as the reference batch size, which gets to {value:metric {metric}}"
    ),
    # What a round of runs is to tell, while it is under way.
    "asked_for_end": "where does the reference end?",
    # Before the answer.
    "time_in_turn": "time steps of batch sizes {size} and {other} once more, in turn",
    "load_falls_on_both": "so that other load on the machine slows both alike",
}
