"""Advice steps: what the advice did, and why it did it."""

from __future__ import annotations

from batchlab.words.message import Message, PluralMessage

MESSAGES: dict[str, Message] = {
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
        "as well as the reference ends, within {margin:.2g}: its plateau is {level:.4g} (mean of "
        "{n} evaluations)"
    ),
    "ends_before_overfitting": (
        "as well as the reference at its best, within {margin:.2g}: it gets worse after "
        "{level:.4g} (mean of {n} evaluations)"
    ),
    "ends_as_planned": (
        "as well as the reference ends, within {margin:.2g}: it ends at {level:.4g} (mean of {n} "
        "evaluations)"
    ),
    "worst_of_seeds": "{why}. That is the worst of {n} seeds; the best is at {best:.4g}",
    "best_met_this_one": "{why}. The best of them met this one",
    "runs_met_it": "the runs met it",
    # The search for rates.
    "tune_reference": "tune batch size {size}, the reference",
    "tune_from_own_rate": "from its own rate {rate:rate}, at most {limit} steps a run",
    "tune_size": "tune batch size {size}",
    "tune_size_why": (
        "{why}; rates from {octaves:octaves} times the reference's, at most {limit} steps a run"
    ),
    "smaller_may_be_better": "a smaller batch may be better",
    "larger_may_be_better": "a larger batch may be better",
    "race_size": "race batch size {size}",
    "race_against": "single runs against {lead}, which leads",
    "race_ended": "train batch size {size} at rate {rate:rate} to its end",
    "race_ends_worse_by": (
        "what is soonest may end worse; this one ends worse than the reference by {margins:.2g} "
        "margins"
    ),
    "size_is_out": "batch size {size} is out",
    "size_is_passed_over": "batch size {size} is passed over",
    "asked_a_further_seed": "run one more seed for the rate of batch size {size}",
    "seeds_chose_it": PluralMessage(
        "its rate was chosen on one seed, and this batch size matters",
        "its rate was chosen on {n} seeds, and this batch size matters",
        by="n",
    ),
    "another_rate": "batch size {size}: rate {rate:rate} instead of {before:rate}",
    "lowest_point_of_seeds": PluralMessage(
        "the runs of one seed are best there",
        "the runs of {n} seeds are best there",
        by="n",
    ),
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
    "asked_for_end": "where does your configuration end?",
    "asked_for_rate": "which learning rate is best here?",
    "asked_on_fresh_seeds": "does the rate hold on fresh seeds?",
    "asked_to_verify": "is it as good on fresh seeds?",
    "asked_for_cool_down": "does a falling rate end better?",
    # Valuations.
    "value_size": PluralMessage(
        "measure batch size {size} at rate {rate:rate} on one fresh seed",
        "measure batch size {size} at rate {rate:rate} on {n} fresh seeds",
        by="n",
    ),
    "choosing_seed_flatters": (
        "the rate was chosen on another seed, where it looks better than it is"
    ),
    "best_with_too_few_runs": "it is the best so far and has too few runs",
    "not_ruled_out": "it may be the best: neither a law nor its neighbors rule that out",
    "largest_is_asked_for": "the largest batch size that is near enough to the best is asked for",
    "all_may_be_the_same": (
        "all may be equally good, but {size} may still be {high:.2f} times as bad"
    ),
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
    "verify_on_fresh_seeds": PluralMessage(
        "verify batch size {size} on one fresh seed",
        "verify batch size {size} on {n} fresh seeds",
        by="n",
    ),
    "verify_to_the_end": PluralMessage(
        "verify batch size {size} on one fresh seed, in whole trainings of about {epochs:.3g} "
        "epochs",
        "verify batch size {size} on {n} fresh seeds, in whole trainings of about {epochs:.3g} "
        "epochs",
        by="n",
    ),
    "not_seen_to_end_worse": PluralMessage(
        "after one training of each, batch size {size} does not seem to end worse",
        "after {n} trainings of each, batch size {size} does not seem to end worse",
        by="n",
    ),
    "try_cool_down": (
        "train batch size {size} and the reference on {n} of these seeds for about {epochs:.3g} "
        "epochs, with a rate that falls to zero over the last fifth"
    ),
    "missed_on_a_fresh_seed": "batch size {size} missed the target on a fresh seed",
    "chosen_runs_flatter": "it was chosen on the other seeds, where it looks better than it is",
    "follow_runs": "follow {runs} runs on to {metric} {value:.4g}",
    "harder_target_decided_too": "the same decision at a harder target",
}
