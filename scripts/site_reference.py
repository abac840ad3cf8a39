"""Hook of mkdocs.yml: fills docs/reference.md from the command line, the names and the schemas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

import batchlab
from batchlab import plans
from batchlab.cli.main import batchlab as command_line

_SCHEMAS = Path(__file__).parents[1] / "docs" / "schema"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put what is generated where a page asks for it."""
    for name, lines in GENERATED.items():
        marker = f"<!-- generated: {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, "\n".join(lines()))
    return markdown


def options() -> Iterator[str]:
    """Each command with its help, and its options as a table."""
    with click.Context(command_line, info_name="batchlab") as parent:
        for name, command in sorted(command_line.commands.items()):
            context = click.Context(command, info_name=name, parent=parent)
            yield f"### `batchlab {name}`\n"
            yield f"{command.help}\n"
            yield "| option | does |"
            yield "|---|---|"
            for parameter in command.params:
                told = parameter.get_help_record(context)
                if told is not None:
                    yield f"| `{in_cell(told[0])}` | {in_cell(told[1])} |"
            yield ""


def names() -> Iterator[str]:
    """Each public name, for mkdocstrings: functions, then what they take and give."""
    public = [name for name in batchlab.__all__ if name != "__version__"]
    public += [f"plans.{name}" for name in plans.__all__]
    return (
        f"::: batchlab.{name}"
        for name in sorted(public, key=lambda name: (name.rpartition(".")[2][0].isupper(), name))
    )


def schemas() -> Iterator[str]:
    """Each document that `--json` prints, with its fields."""
    for file in sorted(_SCHEMAS.glob("*.json")):
        schema = json.loads(file.read_text("utf-8"))
        document = schema["$defs"][schema["$ref"].rpartition("/")[2]]
        yield f"### `batchlab {file.stem} --json`\n"
        yield f"The whole schema: [{file.name}](schema/{file.name}).\n"
        yield "| field | holds |"
        yield "|---|---|"
        for name, field in document["properties"].items():
            yield f"| `{name}` | {in_cell(kind_of(field))} |"
        yield ""


def kind_of(field: dict[str, Any]) -> str:
    """What a field of a JSON Schema holds, in a few words."""
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "anyOf" in field:
        return " or ".join(kind_of(part) for part in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array" and isinstance(field.get("items"), dict):
        return f"list of {kind_of(field['items'])}"
    return str(field.get("type", "anything"))


def in_cell(text: str) -> str:
    """Text in one cell of a table."""
    return " ".join(text.replace("|", r"\|").split())


GENERATED: dict[str, Callable[[], Iterator[str]]] = {
    "options": options,
    "names": names,
    "json": schemas,
}
