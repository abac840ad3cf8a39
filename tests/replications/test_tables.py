"""The published numbers: read as they are in their tables, and nothing typed twice."""

from __future__ import annotations

import ast
from importlib import resources
from pathlib import Path

import pytest

from batchlab.app.replicate import paper_of, replication_names
from batchlab.records.replication import Range, range_of
from batchlab.replications.tables import PublishedTable, PublishedTableError

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
    ours = resources.files("batchlab.replications.published").joinpath(f"{name}.csv")

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

    with pytest.raises(PublishedTableError, match="of 'mine'; of 'momentum' there are: original"):
        table.row("momentum", "mine")
    with pytest.raises(PublishedTableError, match="is 'g = lr"):
        table.number("noise_scale", "SGD")
    with pytest.raises(PublishedTableError, match="is '60;120;160', not one number"):
        table.number("epoch_boundaries", "CIFAR-10")
    with pytest.raises(PublishedTableError, match="no numbers"):
        table.several("noise_scale", "SGD")
    assert table.several("epoch_boundaries", "CIFAR-10") == (60, 120, 160)


@pytest.mark.parametrize("name", replication_names())
def test_every_claim_has_its_rows_and_a_number_of_its_own(name: str) -> None:
    table, claims = PublishedTable.of(name), paper_of(name).claims

    assert claims
    assert len({claim.says for claim in claims}) == len(claims)
    for claim in claims:
        rows = tuple(table.row(*key) for key in claim.rows)
        assert len(rows) in (1, 2)
        assert claim.held_within(claim.published(rows)) is not None


@pytest.mark.parametrize("name", replication_names())
def test_the_quick_form_says_what_it_has_less_of(name: str) -> None:
    paper = paper_of(name)
    for form, least in (("quick", 3), ("full", 5)):
        experiments = paper.experiments(form)
        assert min(each.seeds for each in experiments) >= least
        assert len({each.name for each in experiments}) == len(experiments)

    assert paper.smaller()
    assert paper.title.endswith("?") or name == "convex"
    assert "http" in paper.paper or name in ("convex", "folklore")


@pytest.mark.parametrize("name", TABLES)
def test_no_accuracy_of_a_table_is_typed_in_the_code(name: str) -> None:
    module = resources.files("batchlab.replications.papers").joinpath(f"{name}.py")
    typed = {
        node.value
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
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
    claims = {claim.measured: claim for claim in paper_of("hoffer2017").claims}
    arms = ("SB", "LB", "LB+LR", "LB+LR+GBN", "LB+LR+GBN+RA")

    assert [claims[arm].says for arm in arms] == [
        f"F1 ends at the published accuracy ({arm})" for arm in arms
    ]
    assert [claims[arm].rows for arm in arms] == [
        (("validation_accuracy", f"F1 MNIST;{arm}"),) for arm in arms
    ]
    assert claims["law"].says.startswith("At the first, high rate the distance grows as log t")


@pytest.mark.parametrize("form", ["quick", "full"])
def test_no_training_belongs_to_two_experiments(form: str) -> None:
    """A training that another experiment makes longer would not end where this one does."""
    seen: dict[object, str] = {}
    for name in replication_names():
        for each in paper_of(name).experiments(form):
            # Of plans that begin with a size, those that change it are trainings of their own.
            sizes = each.batch_sizes if each.plans is None or "small" in each.plans else ()
            for size in sizes:
                for rate in each.learning_rates or (None,):
                    settings = tuple(sorted(each.settings.items()))
                    # Under a schedule another length is another training.
                    length = each.epochs if "schedule" in each.settings else None
                    key = (each.workload, settings, size, rate, each.sampling, length)
                    told = f"{name}: {each.name}"
                    assert key not in seen, f"{told} and {seen[key]}"
                    seen[key] = told
