"""`batchlab workloads`: lists the built-in workloads."""

from __future__ import annotations

import json

import click

from batchlab.cli.options import takes


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
            print(f"    --set {name}={_as_text(value)}")
        print()
    print("Your own: path/file.py:name, a batchlab.Workload or a function that returns one.")


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
