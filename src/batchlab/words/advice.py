"""Advice: what every code of an advice says: its answer, and the steps on the way to it."""

from __future__ import annotations

ADVICE: dict[str, str] = {
    # ---- Advice: why the answer is what it is, and what limits it.
    # The verdict.
    "missed_on_fresh_seeds": (
        "batch size {size} looked best, but missed the target on {missed} of "
        "{n:one fresh seed|# fresh seeds}"
    ),
    "slower_on_fresh_seeds": (
        "batch size {size} took {times:times} times as much on "
        "{n:one fresh seed|# fresh seeds} as before, more than chance explains"
    ),
    "reference_was_better": (
        "batch size {size} looked best, but batch size {other} at {rate:rate} was better over "
        "{n:one fresh seed|# fresh seeds}"
    ),
    "ends_no_worse": "batch size {size} ends no worse: at {ends:.4g}, {other} at {other_ends:.4g}",
    "ends_worse": (
        "batch size {size} at rate {rate:rate} ends worse: at {ends:.4g}, {other} at "
        "{other_ends:.4g}"
    ),
    "faster_not_followed": (
        "batch size {size} gets to the level sooner, but the budget was too short to see whether "
        "it ends as well"
    ),
    "single_runs": ("the budget holds few whole trainings, so single runs were compared"),
    "faster_not_seen_to_end": (
        "batch size {size} gets to the level sooner, but none of its trainings on a fresh seed "
        "came to the end"
    ),
    "seems_to_end_worse": (
        "batch size {size} seems to end worse: at {ends:.4g}, {other} at {other_ends:.4g} after "
        "{n:one training|# trainings} of each"
    ),
    "faster_seems_to_end_worse": (
        "batch size {size} gets to the level sooner, but seems to end worse: at {ends:.4g}, "
        "{other} at {other_ends:.4g}. {n:One training of each leaves|# trainings of each leave} "
        "that open"
    ),
    "ending_open": (
        "it is not yet known whether batch size {size} ends as well as {other}. Their {n} "
        "trainings each end at {ends:.4g} and {other_ends:.4g} on average. So {size} may be up to "
        "{worse:.2g} worse; up to {margin:.2g} still counts as no worse"
    ),
    "ending_seen_once": (
        "it is not yet known whether batch size {size} ends as well: too few whole trainings "
        "were run"
    ),
    "whole_trainings_failed": (
        "batch size {size} looked best, but {n:a whole training|# whole trainings} of it failed: "
        "{why}"
    ),
    "whole_trainings_not_seen": (
        "it is not yet known whether it ends as well: it, or the reference, has no whole training "
        "on a fresh seed"
    ),
    "least_that_ends_no_worse": (
        "batch size {size} has the best {objective:term} of those that end no worse. {others} got "
        "there sooner, but did not end as well"
    ),
    "no_whole_training": "no whole training of it was run",
    "all_end_worse": "nothing that is faster than the reference was seen to end as well: {why}",
    "a_configuration": "{size} at rate {rate:rate}",
    "all_within_delta": (
        "all batch sizes from {smallest} to {largest} are within {delta:whole_percent} of the "
        "best {objective:term}"
    ),
    "the_only_one": "only batch size {size} was seen to run here",
    "least_of_those_tried": "batch size {size} has the best {objective:term} of those tried",
    "largest_within_delta": (
        "batch size {size} is the largest whose {objective:term} are within {delta:whole_percent} "
        "of the fewest"
    ),
    "end_of_training": "a whole training within its share of the budget",
    "end_not_seen": "no training was seen to its end. Missing is {missing}",
    "fastest_on_the_way": (
        "batch size {size} was the first on the way, but was not seen to its end. Missing is "
        "{missing}"
    ),
    "reference_overfits": (
        "the reference overfits: it gets worse again. So its best level counts; stop it there"
    ),
    "runs_leave_open": "the runs do not settle it yet: {missing}",
    "better_than_own": "it is sooner than the reference, and ends no worse. But {missing}",
    "whether_best_is_open": "it is not yet known whether it is the best: {missing}",
    "too_little_was_run": (
        "there were too few runs to tell which batch size is best; more would tell"
    ),
    "may_be_worse": (
        "batch size {size} may be up to {worse:whole_percent} worse than {other}, where "
        "{delta:whole_percent} is allowed; {what}"
    ),
    "may_take_longer_than_best": (
        "batch size {size} may take up to {times:two_digits} times as long as the best; {what}"
    ),
    "a_size": "batch size {size}",
    "a_size_not_tried": "a batch size that was not tried",
    "more_runs_would_tell": "more runs would tell",
    "nearer_marks_would_tell": "the metric told more often would tell",
    "better_step_times_would_tell": (
        "their step times are not known well enough: profile with a larger budget, or on a "
        "quieter machine"
    ),
    # What stopped the study.
    "reference_cannot_run": "the reference batch size {size} does not run: {why}",
    "none_met_on_fresh_seed": "no batch size is left that met the target on a fresh seed",
    "budget_ended_before_reference": (
        "the budget ended before your own settings had been trained once"
    ),
    "reference_ruled_out": "at the reference batch size {size} {why}",
    "pilot_stopped": "a run of your own configuration failed: {why}",
    "every_pilot_failed": (
        "your own configuration failed, and so did every other learning rate that was tried: {why}"
    ),
    "no_pilot_learned": (
        "no first run learned anything in {steps} steps, with learning rates from {low:rate} to "
        "{high:rate}; try a larger budget, or look at the data, the model and the loss"
    ),
    "hardly_learns": (
        "your configuration hardly learns: after {epochs:.3g} epochs the best validation {metric} "
        "is {value:.4g}, {seen}"
    ),
    "seen_untrained": "untrained {value:.4g}",
    "seen_at_first": "at its first evaluation {value:.4g}",
    "own_fails": "your configuration does not train: {why}",
    "another_rate_learns": "{why}. With learning rate {rate:rate} it gets to {value:.4g}",
    "reference_rates_failed": (
        "at batch size {size} every learning rate that was tried diverged or failed: {why}"
    ),
    "no_distance_from_perfect": (
        "there are no remaining errors to compare: validation {metric} is not between 0 and 1 in "
        "every run (a loss: not above 0)"
    ),
    "reference_never_met": (
        "no learning rate tried at the reference batch size met {metric} {value:.6g} in {steps} "
        "steps"
    ),
    "plateau_below_target": (
        "{why}. The best of them, with rate {rate:rate}, has reached its plateau short of that"
    ),
    "none_beat_untrained": "{why}. None got better than the untrained model",
    # The gain.
    "nothing_to_compare": "there is no recommendation to compare",
    "nothing_left_for_fresh_seeds": "the budget had nothing left for runs on fresh seeds",
    "reference_has_no_tuned_rate": "the reference batch size has no tuned learning rate",
    "no_seed_with_both": "no fresh seed has a figure of both",
    "missed_while_followed": (
        "it missed the target as long as it was followed, so the gain is at least this"
    ),
    # Candidates.
    "not_trained": "it was not trained",
    "seen_in_single_run": "its figures are those of one run, at learning rate {rate:rate}",
    "missed_by_smaller": (
        "it was not trained. Batch size {size} missed the target in all the epochs allowed, and "
        "larger batches need no fewer examples"
    ),
    "peak_not_reported": "this device does not report it",
    "bounded_by_others": (
        "{why}. Other batch sizes bound it: larger ones need no fewer examples, smaller ones no "
        "fewer steps"
    ),
    "all_rates_failed": "all {n} learning rates tried diverged or failed: {why}",
    "no_rate_met_target": "no learning rate tried met the target in {steps:one step|# steps}",
    "no_rate_held": "no learning rate tried met the target on most fresh seeds",
    "no_rate_held_because": "no learning rate tried held on every fresh seed: {why}",
    "does_not_fit": "it does not fit in memory",
    "does_not_fit_whole": (
        "it does not fit in memory whole, and the workload's `step` takes no micro-batches"
    ),
    "profile_ended_before": "it was not profiled: the time for that had ended",
    "smaller_did_not_run": "it was not profiled: the batch sizes before it did not run",
    "not_profiled": "it was not profiled",
    "between_two_timed": "it lies between two that were timed",
    # The laws of the study.
    "memory_at_fewer_than_three": "memory was measured at fewer than 3 batch sizes",
    "timed_at_fewer_than_three": "fewer than 3 batch sizes were timed in one piece",
    "rates_at_too_few": "rates were tuned at {n:one batch size|# batch sizes}; 3 are needed",
    "no_size_run_twice": "no batch size was run twice",
    # Caveats.
    "easier_than_plateau": (
        "the target is {metric} {value:.4g}, easier than what a whole training ends with, because "
        "the budget does not reach further. A harder target usually has a larger critical batch "
        "size"
    ),
    "easier_than_asked": (
        "the target is {metric} {value:.4g}, easier than {asked:.6g}, because the budget does not "
        "reach further. A harder target usually has a larger critical batch size"
    ),
    "some_seeds_missed": (
        "{missed} of {n:one fresh seed|# fresh seeds} missed the target as long as followed"
    ),
    "at_the_edge": (
        "at batch size {size} training diverged with learning rate {above:rate}. {n:Only one seed "
        "was run with {rate:rate}: should it diverge,|With {rate:rate}, {held} of # seeds held, so "
        "up to {share:whole_percent} of trainings may diverge (95 %): then} halve the rate"
    ),
    "not_verified": (
        "what is named was not verified on fresh seeds: its figures come from the runs that chose "
        "it"
    ),
    "below_the_soonest": (
        "at batch size {size} rate {soonest:rate} was soonest, but only to an early level. What "
        "is fast early is often too high for the end. So {rate:rate} is named"
    ),
    "no_worse_on_the_record": (
        "it is {how:term} to be no worse: a model fitted to recorded answers gives it a chance of "
        "{chance:whole_percent} to be neither slower nor worse at the end"
    ),
    "scaled_step": (
        "as nothing bolder is likely to be no worse, your batch size and rate were raised "
        "together, and trained to the end{n:| # times}. A model fitted to recorded workloads gives "
        "it a chance of {chance:whole_percent} to be neither slower nor worse at the end"
    ),
    "doubled_unseen": (
        "it was not tried here. Where recorded answers found nothing likely to be no worse in so "
        "few trainings, twice both batch size and rate was neither slower nor worse at the end in "
        "{chance:whole_percent}"
    ),
    "first_guess": (
        "batch size {size} with learning rate {rate:rate} looked best, but is a first guess: a "
        "model fitted to recorded answers gives it a chance of {chance:whole_percent} to be "
        "neither slower than what you use now nor worse at the end"
    ),
    "marks_too_wide": (
        "{metric} is seen so seldom that the time to the target is hardly known: tell it about "
        "{n:once|# times} an epoch"
    ),
    "rate_search_cut": (
        "the search for the learning rate was cut short at batch size {sizes}: a better rate may "
        "lie beside the one found"
    ),
    "steps_rise": (
        "in the runs that compared batch sizes, {larger} needed more steps than {smaller}, by more "
        "than chance. So larger batch sizes no longer rule out smaller ones that were not run"
    ),
    "samples_fall": (
        "in the runs that compared batch sizes, {larger} needed fewer examples than {smaller}, by "
        "more than chance. So smaller batch sizes no longer rule out larger ones that were not run"
    ),
    "ended_before_budget": (
        "the study ended with {left_s:seconds} of its {budget_s:seconds} unspent: {why}"
    ),
    "seeds_used_up": (
        "each of its seeds for that ({n}) had its run, and more time alone would not settle it"
    ),
    "next_run_too_dear": "one more run takes about {run_s:about_seconds}",
    "no_run_would_tell_more": ("no further run was likely to change the answer"),
    "trainings_tell_no_step_times": (
        "the step times leave it open, and further trainings would not make them better known"
    ),
    "profile_from_elsewhere": (
        "step times and memory are those of {there} (the profile given, of {created_at:moment}). "
        "Steps were counted here, on {here}, and nothing was verified there"
    ),
    "times_of_this_machine": (
        "step times and memory are those of this machine, {here}, so times are for it, wherever "
        "the trainings ran"
    ),
    "times_of_profile": (
        "step times and memory are those of {there} (the profile given, of {created_at:moment}), "
        "so times are for it, wherever the trainings ran"
    ),
    "met_early": (
        "validation {metric} {value:.4g} is met after {epochs:.2g} of the {whole:.3g} epochs of a "
        "whole training, too early for times to tell anything"
    ),
    "target_is_early": "{why}. To compare ends, ask for objective quality",
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
    "target_set": "target: {metric} {value:.4g}",
    "pilot_was_cut": (
        "the budget cut the first run after {epochs:.3g} of the {planned:.3g} epochs planned"
    ),
    "pilot_without_plateau": "the first run was not seen to reach a plateau: {why}",
    "ends_at_plateau": (
        "as well as the reference batch size ends, within {margin:.2g}: its plateau is {level:.4g} "
        "(mean of {n} evaluations)"
    ),
    "ends_before_overfitting": (
        "as well as the reference batch size at its best, within {margin:.2g}: it gets worse after "
        "{level:.4g} (mean of {n} evaluations)"
    ),
    "ends_as_planned": (
        "as well as the reference batch size ends, within {margin:.2g}: it ends at {level:.4g} "
        "(mean of {n} evaluations)"
    ),
    "worst_of_seeds": "{why}. That is the worst of {n} seeds; the best is at {best:.4g}",
    "best_met_this_one": "{why}. The best of them met this one",
    "runs_met_it": "the runs met it",
    # The search for rates.
    "tune_reference": "tune batch size {size}, the reference",
    "tune_from_own_rate": "from its own rate {rate:rate}, at most {limit} steps a run",
    "look_at_sizes": "train batch sizes {sizes} once",
    "look_at_sizes_why": "each is seen beside {best}, at the rate that follows from the others'",
    "look_at_the_rest_why": "there was no time for them before the answer",
    "follow_to_the_end": "follow a run of batch sizes {sizes} to the end",
    "follow_to_the_end_why": "so that it is seen what they end with",
    "sooner_in_one_run": "one run of it was sooner than that of {best}",
    "tune_size": "tune batch size {size}",
    "tune_size_why": (
        "{why}; rates from {octaves:octaves} times the reference's, at most {limit} steps a run"
    ),
    "smaller_may_be_better": "a smaller batch may be better",
    "larger_may_be_better": "a larger batch may be better",
    "race_size": "race batch size {size}",
    "race_against": "single runs against {lead}, which leads",
    "race_ended": "train batch size {size} at rate {rate:rate} to its end",
    "trained_scaled": "train both raised together, {size} at {rate:rate}, to the end",
    "was_not_tried": "it was not tried",
    "nothing_likely_no_worse": "nothing that was found is likely to be no worse than yours",
    "soonest_may_end_worse": "what is soonest may end worse",
    "size_is_out": "batch size {size} is out",
    "size_is_passed_over": "batch size {size} is passed over",
    "asked_a_further_seed": "run one more seed for the rate of batch size {size}",
    "seeds_chose_it": "its rate was chosen on {n:one seed|# seeds}, and this batch size matters",
    "another_rate": "batch size {size}: rate {rate:rate} instead of {before:rate}",
    "lowest_point_of_seeds": "the runs of {n:one seed|# seeds} are best there",
    "again_on_another_seed": "tune batch size {size} again, on another seed",
    "slow_seed": "no rate met the target on the first seed; the nearest one does on this seed",
    "lower_rate": "batch size {size}: a lower rate, {rate:rate}",
    "no_lower_rate": "batch size {size}: no lower rate is left",
    "fresh_seed_did_not_survive": (
        "the rate chosen before failed on fresh seeds, or missed the target on most"
    ),
    "back_to_rate": "batch size {size}: back to rate {rate:rate}",
    "fewer_steps_on_same_seeds": "it took fewer steps on the same fresh seeds",
    # What a round of runs is to tell, while it is under way.
    "asked_for_end": "where does the reference end?",
    "asked_for_rate": "which learning rate is best here?",
    "asked_on_fresh_seeds": "does the rate hold on fresh seeds?",
    "asked_to_verify": "is it as good on fresh seeds?",
    # Valuations.
    "value_size": (
        "measure batch size {size} at rate {rate:rate} on {n:one fresh seed|# fresh seeds}"
    ),
    "choosing_seed_flatters": (
        "the rate was chosen on another seed, where it looks better than it is"
    ),
    "best_with_too_few_runs": "it is the best so far and has too few runs",
    "not_ruled_out": "it may be the best: neither a law nor its neighbors rule that out",
    "largest_is_asked_for": "the largest batch size that is near enough to the best is asked for",
    "all_may_be_the_same": "all may be equally good, but {size} may be {high:.2f} times as bad",
    "keeps_decision_open": "only {size} against {other} keeps the decision open ({bounds})",
    "may_be_as_good": "it may be as good as the best",
    "beside_a_clear_size": "it lies beside {size}, which is clear already",
    "near_the_best": "near the best: {sizes}",
    "at_most_times": "{size} (at most {high:.2f} times)",
    "no_bound_yet": "{size} (no bound yet)",
    # The end.
    "decision_is_clear": "the decision is clear: {verdict:term}, batch size {size}",
    "no_more_runs": "no more runs",
    "step_times_keep_open": (
        "more runs cannot tell {size} and {other} apart: their step times are not known well "
        "enough ({bounds})"
    ),
    "nothing_left_for_runs": "no budget or no seeds are left for another",
    "verify_on_fresh_seeds": "verify batch size {size} on {n:one fresh seed|# fresh seeds}",
    "verify_to_the_end": (
        "verify batch size {size} on {n:one fresh seed|# fresh seeds}, in whole trainings of about "
        "{epochs:.3g} epochs"
    ),
    "not_seen_to_end_worse": (
        "after {n:one training|# trainings} of each, batch size {size} does not seem to end worse"
    ),
    "missed_on_a_fresh_seed": "batch size {size} missed the target on a fresh seed",
    "time_in_turn": "time steps of batch sizes {size} and {other} once more, in turn",
    "load_falls_on_both": "what else the machine does falls on both alike",
    "chosen_runs_flatter": "it was chosen on the other seeds, where it looks better than it is",
}
