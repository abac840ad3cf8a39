"""The published numbers and the claims, as they are read from their files."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from batchlab import Workload
from replications.experiment import NAMES, PAPERS, Paper
from replications.tables import PUBLISHED, PublishedTable, Range, range_of

SOURCES = Path(__file__).parents[3] / "shared" / "published"
TABLES = ["hoffer2017", "keskar2017", "mccandlish2018", "shallue2019", "shen2018", "smith2018"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("98", Range(low=98, high=98)),
        ("-1", Range(low=-1, high=-1)),
        ("3 to 10", Range(low=3, high=10)),
        ("2^9 to 2^16", Range(low=512, high=65536)),
        ("> 0", Range(low=0, high=None)),
        ("< 1e-6", Range(low=None, high=1e-6)),
        ("", None),
        ("nan", None),
        ("SGD", None),
        ("10% of the training set", None),
        ("3 to many", None),
        ("64;256;1024", None),
    ],
)
def test_a_value_is_a_number_a_range_or_words(value: str, expected: Range | None) -> None:
    assert range_of(value) == expected


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.skipif(not SOURCES.exists(), reason="the sources' own tables are not here")
def test_the_tables_are_those_of_the_sources(name: str) -> None:
    ours = PUBLISHED / f"{name}.csv"

    assert ours.read_bytes() == (SOURCES / f"{name}.csv").read_bytes()


def test_percent_are_fractions_and_what_was_not_found_is_marked() -> None:
    table = PublishedTable.of("keskar2017")
    row = table.row("test_accuracy", "F1;SB")

    assert (row.value, row.uncertainty, row.unit, row.verified) == ("0.9803", "0.0007", "", "yes")
    assert table.row("sharpness_full_space", "F1;SB;epsilon=1e-3").value == "1.23"
    assert (
        PublishedTable.of("hoffer2017").row("validation_accuracy", "F1 MNIST;SB").verified == "no"
    )
    assert PublishedTable.of("convex").row("full", "exact").verified == "derived"


def test_a_row_that_is_not_there_is_refused_with_those_that_are() -> None:
    table = PublishedTable.of("smith2018")

    with pytest.raises(ValueError, match="of 'mine'; of 'momentum' there are: original"):
        table.row("momentum", "mine")
    with pytest.raises(ValueError, match="is 'g = lr"):
        table.number("noise_scale", "SGD")
    with pytest.raises(ValueError, match="is '60;120;160', not a number"):
        table.number("epoch_boundaries", "CIFAR-10")
    with pytest.raises(ValueError, match="not numbers"):
        table.several("noise_scale", "SGD")
    assert table.several("epoch_boundaries", "CIFAR-10") == (60, 120, 160)


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_has_its_rows_and_a_number_of_its_own(name: str) -> None:
    table, claims = PublishedTable.of(name), Paper.named(name).claims

    assert claims
    assert len({claim.says for claim in claims}) == len(claims)
    for claim in claims:
        assert len(claim.rows) in (1, 2)
        assert claim.holds_within(claim.published(table)) is not None


@pytest.mark.parametrize("name", NAMES)
def test_every_sweep_has_a_name_of_its_own_and_enough_seeds(name: str) -> None:
    paper = Paper.named(name)
    for is_quick, least in ((True, 3), (False, 5)):
        experiments = paper.experiments(is_quick)
        assert min(each.seeds for each in experiments) >= least
        assert len({each.name for each in experiments}) == len(experiments)

    assert paper.title.endswith("?") or name == "convex"
    assert "http" in paper.paper or name in ("convex", "folklore")


@pytest.mark.parametrize("name", TABLES)
def test_no_accuracy_of_a_table_is_typed_in_the_code(name: str) -> None:
    typed = {
        node.value
        for node in ast.walk(ast.parse((PAPERS / f"{name}.py").read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, float)
    }
    told = {
        found.number
        for row in PublishedTable.of(name).rows.values()
        if "accuracy" in row.quantity or "sharpness" in row.quantity
        if (found := range_of(row.value)) is not None
    }

    assert not typed & (told - {0.0, 1.0, None})


def test_a_claim_with_a_list_is_one_for_each_of_its_entries() -> None:
    claims = {claim.measured: claim for claim in Paper.named("hoffer2017").claims}
    arms = ("SB", "LB", "LB+LR", "LB+LR+GBN", "LB+LR+GBN+RA")

    assert [claims[arm].says for arm in arms] == [
        f"F1 ends at the published accuracy ({arm})" for arm in arms
    ]
    assert [claims[arm].rows for arm in arms] == [
        (("validation_accuracy", f"F1 MNIST;{arm}"),) for arm in arms
    ]
    assert claims["law"].says.startswith("At the first, high rate the distance grows as log t")


@pytest.mark.parametrize("is_quick", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_no_training_belongs_to_two_experiments(name: str, is_quick: bool) -> None:
    """A training that another experiment makes longer would not end where this one does."""
    seen: dict[object, str] = {}
    for each in Paper.named(name).experiments(is_quick):
        # The trainings of a plan are its own.
        for size in each.batch_sizes if each.plans is None else ():
            for rate in each.learning_rates or (None,):
                settings = tuple(sorted(each.settings.items()))
                # Under a schedule another length is another training.
                has_schedule = isinstance(each.workload, Workload) and each.workload.has_schedule
                length = each.epochs if has_schedule else None
                key = (str(each.workload), settings, size, rate, each.sampling, length)
                assert key not in seen, f"{each.name} and {seen[key]}"
                seen[key] = each.name
