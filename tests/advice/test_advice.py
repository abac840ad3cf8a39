"""An advice in Python: a short name for itself, and its rate set in an optimizer."""

from dataclasses import replace

import pytest
import torch
from tests.reference.made_up_advice import cannot_tell_advice, made_up_advice

from batchlab.advice.advice import Advice
from batchlab.errors import UsageError
from batchlab.records.study import AdamSettings


def groups_of(name, *values):
    return [{"params": [torch.nn.Parameter(torch.ones(1))], name: value} for value in values]


def test_its_repr_names_the_verdict_and_the_configuration_alone() -> None:
    said = repr(made_up_advice())

    assert said.startswith("Advice(verdict='recommend', recommendation=Configuration(batch_size=")
    assert len(said) < 200
    assert repr(NOTHING_NAMED) == "Advice(verdict='cannot_tell')"


NOTHING_NAMED = replace(cannot_tell_advice(), provisional=None)
BEST_SO_FAR = replace(cannot_tell_advice(), provisional=made_up_advice().recommendation)


@pytest.mark.parametrize("advice", [made_up_advice(), BEST_SO_FAR, NOTHING_NAMED])
def test_applied_the_rate_is_that_of_every_group(advice: Advice) -> None:
    optimizer = torch.optim.SGD(groups_of("lr", 0.01, 1.0))

    if advice.named is None:
        with pytest.raises(UsageError, match="names no configuration"):
            advice.apply(optimizer)
    else:
        advice.apply(optimizer)

    rates = [0.26, 0.26] if advice.named else [0.01, 1.0]
    assert [group["lr"] for group in optimizer.param_groups] == rates


MOVED = AdamSettings(betas=(0.9, 0.992), weight_decay=0.28)


@pytest.mark.parametrize(
    ("adam", "factor", "decay"), [(MOVED, 1.0, 0.28), (MOVED, 4.0, 1.12), (None, 4.0, 0.4)]
)
def test_applied_twice_other_settings_are_as_applied_once(adam, factor, decay) -> None:
    named = replace(made_up_advice().recommendation, adam=adam, weight_decay_factor=factor)
    optimizer = torch.optim.AdamW(groups_of("weight_decay", 0.1, 0))

    for _ in range(2):
        replace(made_up_advice(), recommendation=named).apply(optimizer)

    assert [group["weight_decay"] for group in optimizer.param_groups] == [decay, 0]
    betas = (0.9, 0.992) if adam else (0.9, 0.999)
    assert {group["betas"] for group in optimizer.param_groups} == {betas}
