"""Which batch sizes a model takes, found with a few small steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.measure.examples import around, asking, evaluating
from batchlab.measure.training_check import at_a_constant_rate
from batchlab.processes.memory import is_out_of_memory
from batchlab.random_state import seed_everything
from batchlab.records.study import RunnableSizes
from batchlab.records.trial import Trial
from batchlab.training.batching import on_device
from batchlab.training.evaluator import WholeSetMetric, as_metric, evaluated_sum, is_over_all
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload, size_of

# From what runs of these the rule is read: what needs pairs, threes, fours or eights shows in them.
_SMALL = tuple(range(1, 9))
_A_FEW = 3  # one of those from which the rule is read
_EXAMPLES = 8  # of the steps that are looked at more closely
_SEED = 0


def rule_of(runs: Callable[[int], bool], *, usual: int) -> RunnableSizes | None:
    """The rule of what runs, from as few tries as tell.

    Args:
        runs: tries so many examples.
        usual: the workload's own batch size, >= 1, tried where no small one runs.

    Returns:
        The rule; None: nothing ran. Where what ran follows no rule, all sizes: a trial will tell.
    """
    if runs(1) and runs(3):
        return RunnableSizes()
    ran = [size for size in _SMALL if runs(size)]
    if not ran:
        return _rule_of_large(runs, usual)
    if len(ran) == 1:
        ran += [size for size in (ran[0] + 1, 2 * ran[0]) if runs(size)]
    most = ran[0] if len(ran) == 1 else None
    rule = RunnableSizes(least=ran[0], multiple_of=math.gcd(*ran), most=most)
    is_rule = [size for size in _SMALL if rule.holds(size)] == [n for n in ran if n in _SMALL]
    return rule if is_rule and ran[0] % rule.multiple_of == 0 else RunnableSizes()


def _rule_of_large(runs: Callable[[int], bool], usual: int) -> RunnableSizes | None:
    """The rule where nothing up to 8 ran: by the workload's own batch size and its halves."""
    if not runs(usual):
        return None
    least = usual
    while least % 2 == 0 and least // 2 > _SMALL[-1] and runs(least // 2):
        least //= 2
    if runs(least + 1):
        return RunnableSizes(least=least)
    most = None if runs(2 * usual) else usual
    return RunnableSizes(least=least, multiple_of=least, most=most)


def sizes_in_training(workload: Workload, device: torch.device) -> RunnableSizes | None:
    """Which batch sizes a training step takes; None: none does."""
    return rule_of(_Steps(workload, device).runs, usual=workload.batch_size)


def sizes_in_evaluation(
    workload: Workload, model: nn.Module, device: torch.device
) -> RunnableSizes | None:
    """Which batch sizes the metrics take in eval mode; None: none does."""
    names = workload.metric_names

    def evaluate(n: int) -> None:
        batch = on_device(around(workload, n), device)
        with evaluating(model):
            for name in names:
                if is_over_all(workload, name):
                    with torch.no_grad():
                        WholeSetMetric(workload, name).add(model, batch)
                else:
                    evaluated_sum(as_metric(workload, name), model, batch)

    return rule_of(lambda n: _succeeds(evaluate, n), usual=workload.batch_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSeen:
    """What training steps looked like.

    Attributes:
        examples: how many a step took that ran.
        warnings: what is odd, in words.
        last_batch_runs: whether a smaller last batch of an epoch ran after others.
    """

    examples: int
    warnings: tuple[str, ...]
    last_batch_runs: bool = True


def check_step(workload: Workload, device: torch.device, sizes: RunnableSizes) -> StepSeen:
    """Take real training steps: of a few examples, and of the last batch of an epoch.

    Args:
        workload: what is trained.
        device: where.
        sizes: what runs.

    Raises:
        WorkloadError: a step of a few examples fails.
    """
    steps = _Steps(workload, device)
    n_train = size_of(workload.train)
    own = min(workload.batch_size, n_train)
    few = sizes.largest_up_to(min(_A_FEW, n_train)) or sizes.least
    # What ran may follow no rule (a queue takes its divisors): its own size is the one to try then.
    few_run = steps.runs(few) or not steps.runs(own)
    n = (sizes.largest_up_to(min(_EXAMPLES, own)) or few) if few_run else own
    warnings: tuple[str, ...] = ()
    if workload.step is None:  # one of its own is looked at more closely (`own_step_check`)
        warnings = steps.first(few if few_run else own)
    rest = n_train % workload.batch_size
    if not few_run:  # nor can be told which last batches run
        return StepSeen(examples=n, warnings=warnings, last_batch_runs=False)
    if workload.batch_size > n_train or rest == 0 or not sizes.holds(rest):
        return StepSeen(examples=n, warnings=warnings)
    try:
        with asking(workload, f"a training step of {rest} examples, an epoch's last batch,"):
            steps.try_last(rest)
    except WorkloadError as error:
        told = (*warnings, _without_name(error))
        return StepSeen(examples=n, warnings=told, last_batch_runs=False)
    return StepSeen(examples=n, warnings=warnings)


def _without_name(error: WorkloadError) -> str:
    """The message behind `workload 'mine': `, which a warning begins with anyway."""
    return str(error).partition(": ")[2]


class _Steps:
    """Real training steps of throw-away models, in train mode."""

    def __init__(self, workload: Workload, device: torch.device) -> None:
        self._workload = workload
        self._device = device
        self._stepper: Stepper | None = None

    def runs(self, n: int) -> bool:
        """Whether a step of so many runs, of a new model if one that has taken others fails."""
        if self._stepper is not None and _succeeds(self._step, n):
            return True
        return _succeeds(self._step, n)

    def first(self, n: int) -> tuple[str, ...]:
        """What is odd about the first step of a new model.

        Raises:
            WorkloadError: it fails.
        """
        self._stepper = None
        with asking(self._workload, "a training step (forward, backward, optimizer)"):
            model = self._made().model
            before = [part.detach().clone() for part in model.parameters()]
            loss = self._step(n)
        pairs = list(zip(before, model.parameters(), strict=True))
        if all(torch.equal(old, new) for old, new in pairs):
            return (
                f"a training step of {n} examples at learning rate "
                f"{self._workload.learning_rate:g} changed no weight of the model; is its "
                f"optimizer made from the parameters that it is given?",
            )
        is_finite = all(bool(torch.isfinite(new).all()) for _, new in pairs)
        if bool(torch.isfinite(loss)) and not is_finite:
            return (
                f"one training step at learning rate {self._workload.learning_rate:g} left weights "
                f"that are not finite; is the rate too high, or a gradient infinite?",
            )
        return ()

    def try_last(self, n: int) -> None:
        """A step of so many examples; memory that runs out is for the profile to find."""
        try:
            self._step(n)
        except Exception as error:
            if not is_out_of_memory(error):
                raise

    def _step(self, n: int) -> Tensor:
        try:
            stepper = self._stepper or self._made()
            return stepper.step((on_device(around(self._workload, n), self._device),))
        except Exception:
            # What failed may have left its traces in the model: the next try has a new one.
            self._stepper = None
            raise

    def _made(self) -> Stepper:
        workload = replace(at_a_constant_rate(self._workload), make_sampler=None)
        if isinstance(workload.train, tuple):  # steps are given their examples: the rest stays
            workload = replace(workload, train=tuple(part[:1] for part in workload.train))
        trial = Trial(
            workload_id="",
            workload=workload.name,
            n_train=1,
            batch_size=1,
            learning_rate=workload.learning_rate,
            seed=_SEED,
        )
        self._stepper = Stepper(workload, trial, self._device)
        return self._stepper


def _succeeds(function: Callable[[int], object], n: int) -> bool:
    seed_everything(_SEED)
    try:
        function(n)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return False
    return True
