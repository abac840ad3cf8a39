"""Advice steps: what the advice did, and why it did it."""

from __future__ import annotations

from batchlab.words.message import N_, NN_, Message

MESSAGES: dict[str, Message] = {
    # The target.
    "pilot": N_("pilot: train the reference for up to {epochs:.1f} epochs"),
    "pilot_sets_target": N_("no target was given: what this run ends with sets one"),
    "pilot_at_other_rates": N_("pilot at other rates"),
    "nothing_learned_at": N_("nothing was learned at {rate:rate}"),
    "target_set": N_("target: {metric} {value:.4g}"),
    "pilot_was_cut": N_(
        "the budget cut the first run after {epochs:.3g} of the {planned:.3g} epochs planned"
    ),
    "pilot_without_plateau": N_("the first run was not seen to reach a plateau: {why}"),
    "ends_at_plateau": N_(
        "as well as the reference ends, within {margin:.2g}: its plateau is {level:.4g} (mean of "
        "{n} evaluations)"
    ),
    "ends_before_overfitting": N_(
        "as well as the reference at its best, within {margin:.2g}: it gets worse after "
        "{level:.4g} (mean of {n} evaluations)"
    ),
    "ends_as_planned": N_(
        "as well as the reference ends, within {margin:.2g}: it ends at {level:.4g} (mean of {n} "
        "evaluations)"
    ),
    "worst_of_seeds": N_("{why}. That is the worst of {n} seeds; the best is at {best:.4g}"),
    "best_met_this_one": N_("{why}. The best of them met this one"),
    "runs_met_it": N_("the runs met it"),
    # The search for rates.
    "tune_reference": N_("tune batch size {size}, the reference"),
    "tune_from_own_rate": N_("from its own rate {rate:rate}, at most {limit} steps a run"),
    "tune_size": N_("tune batch size {size}"),
    "tune_size_why": N_(
        "{why}; rates from {octaves:octaves} times the reference's, at most {limit} steps a run"
    ),
    "smaller_may_be_better": N_("a smaller batch may be better"),
    "larger_may_be_better": N_("a larger batch may be better"),
    "race_size": N_("race batch size {size}"),
    "race_against": N_("single runs against {lead}, which leads"),
    "race_ended": N_("train batch size {size} at rate {rate:rate} to its end"),
    "race_ends_worse_by": N_(
        "what is soonest may end worse; this one ends worse than the reference by {margins:.2g} "
        "margins"
    ),
    "size_is_out": N_("batch size {size} is out"),
    "size_is_passed_over": N_("batch size {size} is passed over"),
    "asked_a_further_seed": N_("run one more seed for the rate of batch size {size}"),
    "seeds_chose_it": NN_(
        "its rate was chosen on one seed, and this batch size matters",
        "its rate was chosen on {n} seeds, and this batch size matters",
        by="n",
    ),
    "another_rate": N_("batch size {size}: rate {rate:rate} instead of {before:rate}"),
    "lowest_point_of_seeds": NN_(
        "the runs of one seed are best there",
        "the runs of {n} seeds are best there",
        by="n",
    ),
    "again_on_another_seed": N_("tune batch size {size} again, on another seed"),
    "slow_seed": N_("no rate met the target on the first seed; the nearest one does on this seed"),
    "lower_rate": N_("batch size {size}: a lower rate, {rate:rate}"),
    "no_lower_rate": N_("batch size {size}: no lower rate is left"),
    "fresh_seed_did_not_survive": N_(
        "the rate chosen before failed on fresh seeds, or missed the target on most"
    ),
    "back_to_rate": N_("batch size {size}: back to rate {rate:rate}"),
    "fewer_steps_on_same_seeds": N_("it took fewer steps on the same fresh seeds"),
    # What a round of runs is to tell, while it is under way.
    "asked_for_end": N_("where does your configuration end?"),
    "asked_for_rate": N_("which learning rate is best here?"),
    "asked_on_fresh_seeds": N_("does the rate hold on fresh seeds?"),
    "asked_to_verify": N_("is it as good on fresh seeds?"),
    "asked_for_cool_down": N_("does a falling rate end better?"),
    # Valuations.
    "value_size": NN_(
        "measure batch size {size} at rate {rate:rate} on one fresh seed",
        "measure batch size {size} at rate {rate:rate} on {n} fresh seeds",
        by="n",
    ),
    "choosing_seed_flatters": N_(
        "the rate was chosen on another seed, where it looks better than it is"
    ),
    "best_with_too_few_runs": N_("it is the best so far and has too few runs"),
    "not_ruled_out": N_("it may be the best: neither a law nor its neighbors rule that out"),
    "largest_is_asked_for": N_(
        "the largest batch size that is near enough to the best is asked for"
    ),
    "all_may_be_the_same": N_(
        "all may be equally good, but {size} may still be {high:.2f} times as bad"
    ),
    "keeps_decision_open": N_("only {size} against {other} keeps the decision open ({bounds})"),
    "may_be_as_good": N_("it may be as good as the best"),
    "beside_a_clear_size": N_("it lies beside {size}, which is clear already"),
    "near_the_best": N_("near the best: {sizes}"),
    "at_most_times": N_("{size} (at most {high:.2f} times)"),
    "no_bound_yet": N_("{size} (no bound yet)"),
    # The end.
    "decision_is_clear": N_("the decision is clear: {verdict:term}, batch size {size}"),
    "no_more_runs": N_("no more runs"),
    "step_times_keep_open": N_(
        "more runs cannot tell {size} and {other} apart: their step times are not known well "
        "enough ({bounds})"
    ),
    "nothing_left_for_runs": N_("no budget or no seeds are left for another"),
    "verify_on_fresh_seeds": NN_(
        "verify batch size {size} on one fresh seed",
        "verify batch size {size} on {n} fresh seeds",
        by="n",
    ),
    "verify_to_the_end": NN_(
        "verify batch size {size} on one fresh seed, in whole trainings of about {epochs:.3g} "
        "epochs",
        "verify batch size {size} on {n} fresh seeds, in whole trainings of about {epochs:.3g} "
        "epochs",
        by="n",
    ),
    "not_seen_to_end_worse": NN_(
        "after one training of each, batch size {size} does not seem to end worse",
        "after {n} trainings of each, batch size {size} does not seem to end worse",
        by="n",
    ),
    "try_cool_down": N_(
        "train batch size {size} and the reference on {n} of these seeds for about {epochs:.3g} "
        "epochs, with a rate that falls to zero over the last fifth"
    ),
    "missed_on_a_fresh_seed": N_("batch size {size} missed the target on a fresh seed"),
    "chosen_runs_flatter": N_("it was chosen on the other seeds, where it looks better than it is"),
    "follow_runs": N_("follow {runs} runs on to {metric} {value:.4g}"),
    "harder_target_decided_too": N_("the same decision at a harder target"),
}
