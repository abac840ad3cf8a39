"""Reasons: the message of every code, and a reason as text."""

from __future__ import annotations

from batchlab.records.estimate import Reason, Value
from batchlab.words.catalogue import Shown, text

MESSAGES: dict[str, str] = {
    # ---- Advice: why the answer is what it is, and what limits it.
    # The verdict.
    "best_of_likely_no_worse": (
        "batch size {size} is the best, by all runs, of those that likely do as well as the "
        "reference"
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
        "of all runs this one is expected to improve the answer most for its time, about "
        "{cost_s:train_s}"
    ),
    "to_confirm": "no other run promises more, so the comparison is repeated",
    "none_met": (
        "no run met the target {metric} {value:metric {metric}}; the best one came to "
        "{best:metric {metric}}. Give an easier --target, or a larger --budget"
    ),
    "every_run_failed": "every run diverged or failed",
    "no_distance_from_perfect": "the distance of {metric} from perfect is not known",
    "missed_the_level": "it was trained for {steps} steps, and did not meet the target",
    "stopped_when_slower": "it was stopped after {steps} steps, slower than the fastest",
    "steps_off_the_law": (
        "the steps lie further from S = S_min (1 + B_crit / B) than chance explains"
    ),
    "steps_still_fall": "the steps still fall at the largest batch sizes",
    "asked_for_end": "to see how the reference ends",
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
        "the examples they need, and not by time"
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
    "small_differences_unknown": (
        "validation has only {n} examples, so differences in {metric} below about {least:.1g} may "
        "be chance. Hold out more"
    ),
    "seeds_draw_examples": (
        "each seed draws its own {n} examples for validation, the same at every batch size, so "
        "intervals include the luck of that draw"
    ),
    "loss_couples": (
        "the loss couples the examples of a batch, so another batch size trains on another loss, "
        "even with accumulation"
    ),
    "losses_not_comparable": (
        "the loss couples the examples of a batch, so the losses of two batch sizes cannot be "
        "compared. Give the workload a metric over a fixed set of examples, such as retrieval, or, "
        "if the loss is a mean over other units, a `weight` that says over which"
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
    "pilot_without_plateau": "the first run did not reach a plateau that can be seen: {why}",
    "as_well_as_reference": (
        "nearly as well as the reference batch size, which gets to {value:metric {metric}}"
    ),
    "time_in_turn": "time steps of batch sizes {size} and {other} once more, in turn",
    "load_falls_on_both": "so that other load on the machine slows both alike",
    # ---- Laws: why a law, an interval or a plateau is what it is, or is not known.
    "target_missed_by_all": "no run of this batch size reached the target",
    "law_does_not_hold": (
        "the law S_min (1 + B_crit/B) does not hold here. Its exponent would be {low:.2f} to "
        "{high:.2f}; use the measured points"
    ),
    "may_be_zero": (
        "{what} may be 0, judged by batch sizes from {smallest} to {largest}; {other} batch sizes "
        "would tell"
    ),
    "scatter_too_much": (
        "{what} from batch size {smallest} to {largest} scatter too much to tell how they change; "
        "more runs, a quieter machine or a wider range would tell"
    ),
    "outside_measured": (
        "the estimate lies outside of the measured batch sizes, {smallest} to {largest}; {other} "
        "batch sizes would tell"
    ),
    "too_few": "too few {what}: {n}, and at least {needed} are needed",
    "exponent_unknown": (
        "nearly any exponent up to {largest} fits the points; more seeds or batch sizes would tell"
    ),
    "no_trial_ended_well": "no trial ended well; run one that does",
    # The gradient noise scale.
    "gradient_lost_in_noise": (
        "the gradient is lost in the noise of {n} examples: |G|² = {value:.3g} (95 %: {low:.3g} "
        "to {high:.3g}); about {n_needed:,} examples would tell"
    ),
    "gradient_lost_in_batches": "the noise of {n} batches hides the gradient; more would tell",
    "gradient_not_finite": "the gradient is not finite; lower the learning rate or check the loss",
    # Plateaus.
    "no_level_after_bad_end": "the trial ended as {status}, so there is no level to reach",
    "no_validation_at_epoch_end": (
        "there is no validation {metric} at an epoch's end, and a plateau is judged on it; train "
        "with a validation set and for whole epochs"
    ),
    "flat_as_untrained": (
        "validation {metric} is flat, and only {gained:.3g} better than untrained, so training may "
        "not have begun to work. Try a higher learning rate or more epochs"
    ),
    "worse_since_best": "best near epoch {epoch}, and since then worse by more than {delta:.3g}",
    "epochs_to_bring": (
        "{horizon} more epochs should bring {gain:.3g} (95 %: {low:.3g} to {high:.3g}), where "
        "{delta:.3g} would count"
    ),
    "plateau_open": "{expected}; more epochs or a larger validation set would tell",
    "trained_by_pytorch": "PyTorch's own loop trains it: {why}",
    # ---- Diagnoses: what a trial's curves show, the numbers behind it, and what to try.
    "diverged_advice": "Training made the loss grow. Lower the learning rate, or warm it up.",
    "ended_badly": "ended as {status} after {steps:one step|# steps}",
    "loss_grew": "{split} loss {last:.3g} after training, {untrained:.3g} before it",
    "unstable_advice": (
        "The training loss jumps: the learning rate may be too high. Lower it, clip gradients, or "
        "use a larger batch."
    ),
    "loss_spikes": (
        "{n:one jump|# jumps} of the training loss, the largest {ratio:.3g} times at step {step}"
    ),
    "overfitting_advice": (
        "The model fits its training data better than other data. Stop earlier, regularize, or "
        "get more data."
    ),
    "validation_loss_rose": (
        "validation loss rose from {least:.3g} at epoch {epoch} to {last:.3g}, while training "
        "loss fell from {train_then:.3g} to {train_last:.3g}"
    ),
    "validation_got_worse": "validation {metric} got worse after epoch {epoch}; training improved",
    "wide_gap": "training {metric} {train:.3g}, validation {metric} {validation:.3g}",
    "underfitting_advice": (
        "Training has come to rest at a high loss. Try a larger model or another learning rate, "
        "unless the data itself is that noisy."
    ),
    "loss_at_rest": "training loss came to rest at {last:.3g}, {share:.0%} of that before training",
    "slow_convergence_advice": (
        "Training makes progress slowly. A higher learning rate or a smaller batch may get more "
        "out of each epoch."
    ),
    "loss_hardly_fell": "training loss only went from {untrained:.3g} to {last:.3g}",
    "loss_still_falls": "{share:.0%} of the fall of the training loss came in the last quarter",
    "not_enough_epochs_advice": "Validation is still getting better. Train for more epochs.",
    # ---- Profile: why a batch size has no step time or did not run.
    "size_did_not_run": "batch size {size} did not run: {why}",
    "no_size_ran": "no batch size of the profile ran",
    "outside_profile": (
        "batch size {size} lies outside the measured {smallest} to {largest}; profile it"
    ),
    "beyond_memory_limit": (
        "it needs {peak_bytes:limit_bytes}, the memory limit is {limit_bytes:limit_bytes}; use a "
        "smaller micro-batch or batch size"
    ),
    # ---- Trials: why a training run ended as it did, and what a reader must know of its batches.
    # Endings seen in the losses.
    "metric_not_finite": (
        "the {metric} at step {step} is not a finite number; try a smaller learning rate"
    ),
    "not_finite_at_any_rate": (
        "the {metric} at step {step} is not a finite number, nor is it with the untrained weights, "
        "so at any learning rate. A batch may have nothing to take the mean of (a known label, a "
        "positive, a token): let `loss` and `weight` be 0 there. Or an example holds such a "
        "number: correct the data"
    ),
    "losses_far_above_untrained": (
        "at each of the last {n} evaluations the loss was more than {factor:.6g} times that of the "
        "untrained model, {first:.3g}, or not finite; try a smaller learning rate"
    ),
    # Endings of the process.
    "failed_alike_before": "not trained: two runs of batch size {size} failed with {why}",
    "memory_ran_out": "memory ran out ({error}); use a smaller micro-batch or batch size",
    "process_died": "the process ended without a result ({how})",
    "node_lost": "{why}, twice",
    "not_ended_in_time": "it had not ended after {timeout_s:.0f} s",
    "out_of_time": "the budget ended",
    # Notes on the batches.
    "stopped_early": (
        "it ended after {epochs:one epoch|# epochs} by the patience of the workload: {metric} was "
        "best after epoch {best}"
    ),
    "examples_left_out": (
        "{rest:one example is|# examples are} left out of every epoch (the last, smaller batch)"
    ),
    "last_batch_smaller": "the last batch of every epoch has {rest:one example|# examples}",
    "steps_accumulate": (
        "each step adds up {passes} micro-batches of at most {size}; layers that normalize over "
        "the batch see the micro-batch"
    ),
    "batches_are_split": (
        "{n} devices share each batch: at most {size} examples at once on each, over which its "
        "layers normalize"
    ),
    # ---- Monitor: what it says about a running training, and why it cannot.
    "monitor_sees_no_layer": (
        "the model has no layer whose noise can be seen (Linear, Conv2d, Embedding, LayerNorm, "
        "each used once); batchlab noise measures any model"
    ),
    "mostly_noise": (
        "the noise scale is above {low:critical_batch_size}, more than twice your batch size of "
        "{size}: a larger batch would cost few extra examples"
    ),
    "some_noise": "the noise scale is {scale:critical_batch_size}, and your batch size is {size}",
    "hardly_noise": (
        "the noise scale is below {high:critical_batch_size}, less than a tenth of your batch size "
        "of {size}: a smaller batch would need hardly more steps"
    ),
    # ---- Commands: how somebody's own training command ended.
    # It never ran.
    "command_not_found": "the command {program} was not found; check its name or give its path",
    "command_not_executable": (
        "{program} cannot be executed ({error}); name the program that runs it first, as in: "
        "python {program}"
    ),
    "command_not_started": "the command could not be started: {error}",
    # It ran.
    "command_failed": "{command} ended with exit code {exit_code}; its last line: {last_line}",
    "needs_terminal": (
        "the command asks for input and nobody is there to answer ({line}); give it all it needs "
        "as options"
    ),
    "wants_terminal": (
        "the command wants a terminal, and here is none ({line}); have it do without one where its "
        "output is no terminal. Its last line: {last_line}"
    ),
    "ended_on_request": "batchlab ended it",
    "supervisor_killed": "the process that watched it was killed; batchlab ended the command",
    # Progress of the script.
    "script_ended_itself": (
        "the script ended by itself at step {step} of the {asked} that were asked for: put "
        "{{epochs}} where your script takes its length"
    ),
    "script_trained_to_its_end": "the script ended by itself at step {step}, its own length",
    "script_stopped_early": (
        "the script ended well, but early: it last reported its metric at step {step} of {asked}"
    ),
    "metric_reported_before_end": "the script last reported its metric at step {step} of {asked}",
    "metric_never_seen": "it ended well, but never reported {metric}",
    "over_too_soon": (
        "it ended by itself after {seconds:.2g} s, and its progress came all at once: too soon for "
        "a step time"
    ),
    "steps_seen_too_seldom": (
        "it reported progress {n:once|# times} after its first steps, too seldom for a step time; "
        "report it more often, as with batchlab.log(step=...)"
    ),
    "log_not_understood": (
        "batchlab.log was given something that is no number: {values}; give numbers, and counters "
        "of at least 0"
    ),
    "steps_with_evaluations": (
        "the step times of batch size {sizes} include the script's evaluations, because its "
        "progress does not show them. Print progress several times between two evaluations, or use "
        "batchlab.log(step=...)"
    ),
    "processes_left_behind": (
        "the command ended and left {n:1 process|# processes} running, which batchlab ended; if "
        "{n:that|one} was the training, let the command wait for it"
    ),
    "other_batch_size": "{error}",
    "metric_never_changed": (
        "{metric} was {value} at all {n} evaluations: it did not train, or the metric does not "
        "show it. A batch larger than the training set takes no step if the last batch of an epoch "
        "is left out"
    ),
    "same_failure_again": "{n} runs failed in the same way: {why}",
    # ---- Others: what a user's code or another program says.
    "as_written": "{text}",
}

# Accumulation: why an accumulated gradient differs, and what to do about it.
CAUSES: dict[str, str] = {
    "sum": (
        "The loss is a sum over the batch, so its gradient grows with the batch size. Divide it "
        "by the number of examples."
    ),
    "weight": (
        "Some examples count more than others in the loss (tokens without padding, known labels, "
        "class weights), but micro-batches are added up as if all counted the same, or by a wrong "
        "`weight`. Give the workload a `weight`: over how many units a batch's loss is the mean."
    ),
    "batch_norm": (
        "Batch normalization takes mean and variance from each micro-batch. Use GroupNorm or "
        "LayerNorm, freeze it, or use batches without micro-batches."
    ),
    "random": (
        "Random numbers (dropout, augmentation) are drawn again for each micro-batch, so the "
        "gradient differs by chance. If the loss itself draws them, nothing else was compared."
    ),
    "coupled": (
        "What an example adds to the gradient depends on the rest of its batch: a contrastive "
        "loss, statistics of the batch, mixed examples, a factor that depends on the batch size, a "
        "model that changes in its forward pass, or clipping before gradients are added up. So a "
        "micro-batch trains on something else. Change that, or do not accumulate."
    ),
}


def reason_text(reason: Reason | None) -> str:
    """Return a reason as a clause without its full stop; empty if there is none.

    A reason that another version of batchlab stored, with a code or values that this one lacks, is
    written as it was stored.
    """
    if reason is None:
        return ""
    try:
        return _filled(reason)
    except (KeyError, ValueError, TypeError):
        values = ", ".join(f"{name} {_said(value)}" for name, value in reason.values)
        return f"{reason.code.replace('_', ' ')} ({values})" if values else reason.code


def has_words(reason: Reason) -> bool:
    """Return whether this batchlab knows its code and values, as other versions have others."""
    try:
        _filled(reason)
    except (KeyError, ValueError, TypeError):
        return False
    return True


def _filled(reason: Reason) -> str:
    said = {name: _said(value) for name, value in reason.values}
    return text(MESSAGES[reason.code], **said)


def _said(value: Value) -> Shown:
    """Return a value as a text takes it: a reason that is quoted becomes its words."""
    if isinstance(value, Reason):
        return reason_text(value).rstrip(".")  # a user's error may end with a full stop
    if isinstance(value, tuple):
        return ", ".join(str(_said(part)) for part in value)
    return value
