"""`batchlab replicate`: names, forms and pages; what is trained is tested elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.report.test_replication import made_up

from batchlab.app import replicate as app
from batchlab.errors import BudgetError
from batchlab.registry import row_names
from batchlab.replications import papers


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The replications that were asked for; nothing is trained."""
    seen: list[tuple[str, dict[str, Any]]] = []

    def replicate(name: str, **given: Any) -> Any:
        seen.append((name, given))
        return replace(made_up(), name=name)

    monkeypatch.setattr(app, "replicate", replicate)
    return seen


def test_one_is_run_and_told(do: Any, asked: list[Any]) -> None:
    done = do("replicate", "keskar2017", "--budget", "10m", "--quiet")

    assert (done.code, done.err) == (0, "")
    assert "keskar2017, quick: of 4 claims" in done.out
    ((name, given),) = asked
    assert (name, given["form"], given["budget"]) == ("keskar2017", "quick", 600.0)
    assert given["store"] == Path("batchlab.db")


def test_all_are_run_each_with_a_page_and_one_document(do: Any, asked: list[Any]) -> None:
    done = do("replicate", "--all", "--full", "--json", "--report", "here.html", "--quiet")

    names = row_names(papers)
    assert done.code == 0
    assert [name for name, _ in asked] == names
    assert {given["form"] for _, given in asked} == {"full"}
    document = json.loads(done.out)
    assert [each["replication"] for each in document["replications"]] == names
    assert sorted(path.name for path in Path().glob("*.html")) == sorted(
        f"here-{name}.html" for name in names
    )


def test_one_has_its_page_where_it_was_asked_for(do: Any, asked: list[Any]) -> None:
    done = do("replicate", "convex", "--json", "--report", "here.html", "--quiet")

    assert json.loads(done.out)["report"] == "here.html"
    assert Path("here.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("kesker",), "no replication 'kesker'; there are convex, folklore, hoffer2017,"),
        ((), "neither a name nor --all: expected one of convex, folklore,"),
        (("convex", "--all"), "'convex' and --all: expected one of"),
        (("convex", "--report", "nowhere/here.html"), "nowhere"),
        (("convex", "--budget", "soon"), "soon"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_before_anything_is_trained(
    do: Any, asked: list[Any], arguments: tuple[str, ...], said: str
) -> None:
    done = do("replicate", *arguments)

    assert done.code in (1, 2)
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert not asked


def test_the_help_names_them_all(do: Any) -> None:
    assert set(row_names(papers)) <= set(
        do("replicate", "--help").out.replace(",", " ").replace(".", " ").split()
    )


def test_a_budget_that_ends_in_the_middle_of_all_leaves_what_was_found(
    do: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replicate(name: str, **given: Any) -> Any:
        if name != "convex":
            raise BudgetError("budget 60 s: it ended")
        return replace(made_up(), name=name)

    monkeypatch.setattr(app, "replicate", replicate)
    done = do("replicate", "--all", "--json", "--budget", "60s")

    assert done.code == 0
    assert [each["replication"] for each in json.loads(done.out)["replications"]] == ["convex"]
    assert "the budget ended; left: folklore, hoffer2017" in done.err
