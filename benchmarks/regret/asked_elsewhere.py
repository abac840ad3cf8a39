"""The second record's questions asked of another version of the code; its answers valued here.

    python -m benchmarks.regret.asked_elsewhere questions FOLDER
    git worktree add OTHER 7281b8e
    PYTHONPATH=OTHER/src python benchmarks/regret/asked_elsewhere.py answers FOLDER
    python -m benchmarks.regret.asked_elsewhere table FOLDER

The other code knows grids with a given target alone, so the grids are written for it with one, but
it is asked without. It pays nothing for evaluations. What it does not name stays the reference.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

GRIDS = Path(__file__).parent / "whole"


def write_questions(folder: Path, draws: int, budgets: list[float]) -> None:
    """Write every question of the record, and the grids as the other code reads them."""
    from batchlab.engines.recorded_grid import RecordedGrid

    from .whole_situation import profiles_of, whole_situation

    asked = []
    for path in sorted(GRIDS.glob("*.csv.gz")):
        grid = RecordedGrid.read(path)
        name = grid.header.workload
        shutil.copy(path, folder)
        known = json.loads(path.with_name(f"{name}.json").read_text())
        level = whole_situation(grid, "cpu", draw=0).level.target.value
        del known["epochs"]  # by which a grid of whole trainings is known
        known |= {"target": level, "easier": level, "harder": level, "cut": 1e9}
        (folder / f"{name}.json").write_text(json.dumps(known))
        for profile in profiles_of(grid):
            for draw in range(draws):
                drawn = whole_situation(grid, profile, draw=draw)
                asked.append(
                    {
                        "workload": name,
                        "profile": profile,
                        "draw": draw,
                        "budgets_s": {b: b * drawn.tuned_reference_s for b in budgets},
                        "seen": drawn.seen,
                        "step_s": drawn.step_s,
                        "timed": {s: (e.estimate, e.low, e.high) for s, e in drawn.timed.items()},
                        "epochs": drawn.header.epochs,
                    }
                )
    (folder / "questions.json").write_text(json.dumps(asked))


def write_answers(folder: Path) -> None:
    """Ask whatever code is on the path; write what it names."""
    answers = []
    for asked in json.loads((folder / "questions.json").read_text()):
        for budget, budget_s in asked["budgets_s"].items():
            named = _named(folder, asked, budget_s)
            answers.append({**asked, "tuned_trainings": float(budget), **named})
    (folder / "answers.json").write_text(json.dumps(answers))


def _named(folder: Path, asked: dict[str, Any], budget_s: float) -> dict[str, Any]:
    from batchlab.advice.advisor import advise
    from batchlab.advice.parts import Configuration
    from batchlab.advice.question import Option, Question
    from batchlab.engines.recorded import RecordedEngine
    from batchlab.engines.recorded_grid import RecordedGrid
    from batchlab.errors import BatchlabError, TrialError
    from batchlab.records.estimate import Estimate

    class Engine(RecordedEngine):
        def trial(self, *, batch_size: int, learning_rate: float, seed: int) -> Any:
            """A rate that was not recorded is asked for to see the order of examples alone."""
            try:
                return super().trial(batch_size=batch_size, learning_rate=learning_rate, seed=seed)
            except TrialError:
                rate = self.learning_rates(batch_size)[0]
                return super().trial(batch_size=batch_size, learning_rate=rate, seed=seed)

    grid = RecordedGrid.read(folder / f"{asked['workload']}.csv.gz")
    header = grid.header
    own = header.reference_batch_size
    engine = Engine(
        grid, seeds=asked["seen"], step_s={int(s): t for s, t in asked["step_s"].items()}
    )
    question = Question(
        objective="time",
        metric=header.metric,
        better=header.better,
        target=None,
        target_origin="pilot",
        reference=Configuration(
            batch_size=own, micro_batch_size=own, learning_rate=header.reference_learning_rate
        ),
        options=tuple(
            Option(
                batch_size=int(size),
                micro_batch_size=int(size),
                step_s=Estimate.of(known_s, interval=(low_s, high_s), n=8),
                peak_bytes=None,
            )
            for size, (known_s, low_s, high_s) in asked["timed"].items()
        ),
        n_train=header.n_train,
        budget_s=budget_s,
        longest_epochs=asked["epochs"],
    )
    try:
        advice = advise(question, engine)
    except (BatchlabError, ValueError) as error:  # what an older code ends with is its answer
        return {
            "cell": None,
            "verdict": "error",
            "origin": "",
            "spent": engine.spent_s() / budget_s,
            "problem": str(error),
        }
    chosen = advice.recommendation or advice.provisional
    return {
        "cell": None if chosen is None else (chosen.batch_size, chosen.learning_rate),
        "named_as": "recommendation" if advice.recommendation else "provisional",
        "verdict": advice.verdict,
        "origin": advice.target_origin,
        "spent": engine.spent_s() / budget_s,
    }


def print_table(folder: Path) -> None:
    """Value what was named on the judging seeds of this record, and print the tables."""
    from batchlab.engines.recorded_grid import RecordedGrid

    from .whole_situation import whole_situation
    from .whole_table import ADVISE, tables
    from .whole_valuation import valued

    grids: dict[str, RecordedGrid] = {}
    answers = []
    for each in json.loads((folder / "answers.json").read_text()):
        name = each["workload"]
        if name not in grids:
            grids[name] = RecordedGrid.read(GRIDS / f"{name}.csv.gz")
        drawn = whole_situation(grids[name], each["profile"], draw=each["draw"])
        cell = drawn.reference if each["cell"] is None else drawn.grid.cell(*each["cell"])
        answers.append(
            valued(
                drawn,
                cell,
                draw=each["draw"],
                who=ADVISE,
                tuned_trainings=each["tuned_trainings"],
                named_as="reference" if each["cell"] is None else each["named_as"],
                verdict=each["verdict"],
                origin=each["origin"],
                spent=each["spent"],
                problem=each.get("problem", ""),
            )
        )
    print(tables(answers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("questions", "answers", "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--budgets", nargs="+", type=float, default=[4, 9, 18, 36, 75, 150, 300])
    given = parser.parse_args()
    given.folder.mkdir(exist_ok=True)
    if given.what == "questions":
        write_questions(given.folder, given.draws, given.budgets)
    elif given.what == "answers":
        write_answers(given.folder)
    else:
        print_table(given.folder)


if __name__ == "__main__":
    main()
