from __future__ import annotations

from dataclasses import replace

from tests.reference.made_up import made_up_curves, made_up_study

from batchlab.records.trial import Status
from batchlab.report.sweep_claims import conclusion


def curves_of(**levels: float):
    """The level that each batch size ends at, with seeds that scatter by a thousandth."""

    def curves(batch_size: int, learning_rate: float, seed: int):
        level = levels[f"b{batch_size}"] + 0.001 * (seed - 0.5)
        return made_up_curves(validation=level, test=level, rate=2.0)

    return curves


def test_a_clear_leader_is_named_with_its_value() -> None:
    curves = curves_of(b64=0.95, b1024=0.80)

    found = conclusion(made_up_study(batch_sizes=(64, 1024), seeds=3, curves=curves))

    assert found.headline.startswith(
        "Batch size 64 did best in 20 epochs: validation accuracy 0.95"
    )
    assert "as good" not in found.headline
    assert "In equal steps" in found.lead
    assert "3 seeds each" in found.lead


def test_those_that_may_be_as_good_are_named() -> None:
    curves = curves_of(b16=0.9501, b64=0.95, b1024=0.80)

    found = conclusion(made_up_study(batch_sizes=(16, 64, 1024), seeds=3, curves=curves))

    assert found.headline.startswith("Batch size 16 did best")
    assert found.headline.endswith("Batch size 64 may be as good.")


def test_one_seed_may_be_chance() -> None:
    curves = curves_of(b64=0.95, b1024=0.80)

    found = conclusion(made_up_study(batch_sizes=(64, 1024), seeds=1, curves=curves))

    assert found.headline.endswith("One seed each: this may be chance.")


def test_of_one_batch_size_there_is_no_order() -> None:
    found = conclusion(made_up_study(batch_sizes=(64,)))

    assert found.headline.startswith("Batch size 64 ended at validation accuracy ")
    assert found.lead == "Trained at learning rate 0.01, 1 seed."


def test_without_anything_that_ended_well_it_says_so() -> None:
    bad = {(64, 0.01, 0): (Status.DIVERGED, "the loss grew", 2)}

    assert conclusion(made_up_study(batch_sizes=())).headline == "No trial has been run."
    assert (
        conclusion(made_up_study(batch_sizes=(64,), endings=bad)).headline
        == "No trial ended well, so nothing can be compared."
    )


def test_while_trials_are_under_way_none_is_said_to_have_ended_badly() -> None:
    study = made_up_study(batch_sizes=(64,))
    begun = replace(study, records=tuple(replace(r, status=None) for r in study.records))

    assert (
        conclusion(begun).headline
        == "No trial has ended well so far, so nothing can be compared yet."
    )
