"""The results of docs/replications.md, written from what `replicate` printed.

    batchlab replicate --all --json > quick.json
    batchlab replicate shen2018 --full --store full.db --json > full.json
    python -m benchmarks.replications quick.json full.json

Everything after the line `<!-- results -->` is written anew. What did not hold comes first. What
the page shows of them is kept in benchmarks/results/replications.jsonl, from which it is made where
no file is given.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batchlab.report.text import quantity_text

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "replications.md"
RESULTS = ROOT / "benchmarks" / "results" / "replications.jsonl"
SHOWN = ("replication", "form", "created_at", "environment", "spent_s")
SHOWN_OF_A_CLAIM = ("claim", "verdict", "why_code", "quantity", "measured", "published")
MARK = "<!-- results -->\n"
WORDS = {"did_not_hold": "**did not hold**", "cannot_tell": "can't tell", "held": "held"}


def main(files: list[str]) -> None:
    if files:
        found = [kept(document) for file in files for document in read(Path(file))]
        RESULTS.write_text("".join(f"{json.dumps(each)}\n" for each in found), "utf-8")
    documents = [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()]
    head, mark, _ = PAGE.read_text("utf-8").partition(MARK)
    PAGE.write_text(head + mark + "\n" + "\n".join(lines(documents)), "utf-8")
    print(f"written: {PAGE}")


def read(file: Path) -> list[dict[str, Any]]:
    found = json.loads(file.read_text("utf-8"))
    return found.get("replications", [found])


def kept(document: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of a replication."""
    claims = [
        {name: claim[name] for name in SHOWN_OF_A_CLAIM}
        | {"is_sure": all(row["verified"] != "no" for row in claim["source"])}
        for claim in document["claims"]
    ]
    return {name: document[name] for name in SHOWN} | {"claims": claims}


def lines(documents: list[dict[str, Any]]) -> Iterator[str]:
    first = documents[0]
    yield "| replication | form | held | did not hold | can't tell | of these by size | time |"
    yield "|---|---|---|---|---|---|---|"
    for each in documents:
        counts = [count(each, verdict) for verdict in ("held", "did_not_hold", "cannot_tell")]
        by_size = sum(claim["why_code"] == "only_full_form" for claim in each["claims"])
        cells = [each["replication"], each["form"], *counts, by_size, f"{each['spent_s']:.0f} s"]
        yield f"| {' | '.join(map(str, cells))} |"
    yield ""
    environment = first["environment"]
    yield (
        f"{environment['processor']}, {environment['cores']} cores, torch {environment['torch']}, "
        f"{first['created_at'][:10]}; `benchmarks/replications.py` names the commands. By size: "
        f"claims that only the full form can tell."
    )
    for each in documents:
        yield f"\n### {each['replication']}, {each['form']}\n"
        yield "| verdict | claim | here | published |"
        yield "|---|---|---|---|"
        claims = [c for c in each["claims"] if c["why_code"] != "only_full_form"]
        for claim in sorted(claims, key=lambda claim: list(WORDS).index(claim["verdict"])):
            cells = WORDS[claim["verdict"]], claim["claim"], here(claim), published(claim)
            yield f"| {' | '.join(cells)} |"
    yield ""


def count(document: dict[str, Any], verdict: str) -> int:
    return sum(claim["verdict"] == verdict for claim in document["claims"])


def here(claim: dict[str, Any]) -> str:
    found, quantity = claim["measured"], claim["quantity"]
    if found["estimate"] is None:
        return "–"
    value, low, high = (quantity_text(quantity, found[end]) for end in ("estimate", "low", "high"))
    return value if low == high else f"{value} ({low} to {high})"


def published(claim: dict[str, Any]) -> str:
    found, quantity = claim["published"], claim["quantity"]
    if found is None:
        return "–"
    low, high = (
        None if found[end] is None else quantity_text(quantity, found[end])
        for end in ("low", "high")
    )
    if low is None:
        said = f"< {high}"
    elif high is None:
        said = f"> {low}"
    else:
        said = low if low == high else f"{low} to {high}"
    return said if claim["is_sure"] else f"{said} (unverified)"


if __name__ == "__main__":
    main(sys.argv[1:])
