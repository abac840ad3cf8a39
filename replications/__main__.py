"""Run a published experiment and print its claims as Markdown.

python -m replications                   list the replications
python -m replications shen2018 --quick  run the quick form of one
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from batchlab import BatchlabError
from replications.claims import JudgedClaim, judge
from replications.experiment import NAMES, Paper, Studies
from replications.tables import PublishedTable
from replications.text import markdown


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m replications", description=__doc__)
    parser.add_argument("name", nargs="?", help="a replication; left out, they are listed")
    parser.add_argument("--quick", action="store_true", help="a smaller form, in minutes")
    parser.add_argument("--store", type=Path, help="SQLite file; default: NAME-FORM.db")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; default: cpu")
    asked = parser.parse_args(arguments)
    if asked.name not in NAMES:
        if asked.name is not None:
            print(f"no replication {asked.name!r}; there are:", file=sys.stderr)
        for name in NAMES:
            print(f"{name:15} {Paper.named(name).title}")
        return 0 if asked.name is None else 2
    form = "quick" if asked.quick else "full"
    store = asked.store or Path(f"{asked.name}-{form}.db")
    paper = Paper.named(asked.name)
    try:
        judged, studies = replicate(paper, is_quick=asked.quick, store=store, device=asked.device)
    except BatchlabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted; the same command goes on from {store}", file=sys.stderr)
        return 130
    print(markdown(paper, judged, studies, is_quick=asked.quick), end="")
    return 0


def replicate(
    paper: Paper, *, is_quick: bool, store: Path, device: str = "cpu"
) -> tuple[list[JudgedClaim], Studies]:
    """Run the sweeps of a replication and judge its claims.

    The store's trainings are not run again, so an interrupted replication goes on.
    """
    studies = {}
    experiments = paper.experiments(is_quick)
    for number, experiment in enumerate(experiments, start=1):
        print(f"{number} of {len(experiments)}: {experiment.name}", file=sys.stderr, flush=True)
        studies[experiment.name] = experiment.run(store=store, device=device)
    measured, table = paper.measured(studies), PublishedTable.of(paper.name)
    return [judge(claim, table, measured) for claim in paper.claims], studies


if __name__ == "__main__":
    raise SystemExit(main())
