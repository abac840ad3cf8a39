"""The commands that measure nothing: report, compare, weights, fit and workloads.

Heavy modules (torch, plotting) are imported only inside functions, because `--help` loads this file
and must be instant.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchlab.cli.options import takes
from batchlab.cli.output import print_answer, print_study

if TYPE_CHECKING:
    from batchlab.app.report import ReportFormat


@click.command()
@takes("store study_id output_format path")
def report(
    store: Path,
    study_id: str | None,
    output_format: ReportFormat | None,
    path: Path | None,
) -> None:
    """Show a study of the store as a page, text, tables or images."""
    from batchlab.app.report import stored, write_files

    shown = stored(store, study_id)
    if path is None and output_format in ("json", "text"):
        print_study(shown, store=store, page=None, as_json=output_format == "json")
    else:
        for file in write_files(shown, output_format or "html", path, store=store):
            print(file)


@click.command()
@click.argument("a")
@click.argument("b")
@takes("store as_json")
def compare(a: str, b: str, store: Path, as_json: bool) -> None:
    """Show what differs beyond noise between the studies A and B.

    A and B are each one of these: the start of the id of a study in --store; the path of another
    store, whose last study is compared; or a file with the output of batchlab profile --json.
    """
    from batchlab.app.compare import compare as compare_studies
    from batchlab.report.short_reports import comparison_section
    from batchlab.words.document import document_text

    comparison = compare_studies(a, b, store=store)
    print_answer(document_text(comparison), comparison_section(comparison), as_json=as_json)


@click.command()
@takes("store study_id output")
def weights(store: Path, study_id: str | None, output: Path) -> None:
    """Write the trained model that an advice recommends to a file.

    The model is from the longest training with the recommended batch size and learning rate. Load
    its weights with model.load_state_dict(safetensors.torch.load_file(FILE)).
    """
    from batchlab.app.save_weights import save_weights
    from batchlab.words.catalogue import number_text

    saved = save_weights(output, store=store, study=study_id)
    trial = saved.record.trial
    rate = number_text(trial.learning_rate, "rate")
    reached = ""
    if saved.value is not None:
        value = number_text(saved.value, f"metric {saved.metric}")
        reached = f", validation {saved.metric} {value}"
    averaged = ", the averaged weights" if saved.are_averaged else ""
    print(
        f"{saved.path}: batch size {trial.batch_size}, learning rate {rate}, seed "
        f"{trial.seed}, {saved.record.epochs:.3g} epochs{reached}{averaged}"
    )


@click.command()
@click.argument("points", type=click.Path(path_type=Path))
@takes("as_json")
def fit(points: Path, as_json: bool) -> None:
    """Fit the law of steps to target to POINTS, a CSV file.

    The law is S(B) = S_min (1 + B_crit/B), fitted by least squares of relative errors. A row is a
    run. Required columns: batch_size, and steps_to_target or samples_to_target, which is empty if
    the run missed the target. Optional columns: after_steps, the step of the last evaluation before
    the target, or the length of a run that missed it; and learning_rate. With several rates, only
    the best rate of each batch size is used: the rate at which most runs reached the target, and of
    equal ones the rate with the fewest steps.
    """
    from batchlab.app.fit import fit as fit_points
    from batchlab.report.short_reports import FitDocument, fit_section
    from batchlab.words.document import document_text

    law = fit_points(points)
    document = FitDocument(source=str(points), law=law)
    print_answer(document_text(document), fit_section(law), as_json=as_json)


@click.command()
@takes("as_json")
def workloads(as_json: bool) -> None:
    """List the built-in workloads with their settings and defaults."""
    from batchlab.words.document import SCHEMA
    from batchlab.workload.loading import describe_workloads

    described = describe_workloads()
    if as_json:
        document = {"schema": SCHEMA, "command": "workloads", "workloads": described}
        print(json.dumps(document, indent=2))
        return
    for entry in described:
        print(f"{entry['name']}\n    {entry['description']}")
        for name, value in entry["settings"].items():
            text = str(value)
            if isinstance(value, bool):
                text = text.lower()
            print(f"    --set {name}={text}")
        print()
    print("Your own: path/file.py:name, a batchlab.Workload or a function that returns one.")
