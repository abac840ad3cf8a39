"""What the documents say is there: names, commands, queries, fields, figures, scripts."""

import re
import shlex
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from functools import reduce
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
from scripts.schemas import schemas
from tests.reference.example_commands import understood
from tests.reference.made_up_profile import made_up_profile
from tests.reference.stored_study import STUDY, put_study

import batchlab
from batchlab.cli.main import batchlab as command_line
from batchlab.cli.mcp import TOOLS
from batchlab.store.store import Store
from batchlab.words.catalogue import CAUSES
from batchlab.workload.builtin import workload_names
from batchlab.workload.definition import Workload

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
FIRST_SCREEN_LINES = 20


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page that are in one of the languages."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    return [text for language, text in fenced if language in languages]


def documented_names() -> Iterator[str]:
    """What the code of the pages and the examples reads from batchlab, such as "plans.steps"."""
    code = [block for page in PAGES for block in blocks(page, "python")]
    code += [path.read_text("utf-8") for path in sorted((ROOT / "examples").rglob("*.py"))]
    for text in code:
        yield from re.findall(r"\bbatchlab\.([A-Za-z_][\w.]*\w)", text)
        for module, names in re.findall(r"from batchlab(\.[\w.]+)? import ([\w, ]+)", text):
            yield from (f"{module}.{name.strip()}".lstrip(".") for name in names.split(","))


def test_every_documented_name_is_there_after_import_batchlab():
    names = sorted(set(documented_names()) - {"toml", "db"})  # two names of files

    assert {"Workload", "plans", "datasets"} <= {name.partition(".")[0] for name in names}
    for name in names:
        first, *rest = name.split(".")
        # Other modules are attributes only where another test has imported them.
        assert first in (*batchlab.__all__, "plans", "datasets"), name
        reduce(getattr, rest, getattr(batchlab, first))


def test_every_public_name_resolves_to_a_thing_and_not_to_a_module():
    for name in batchlab.__all__:
        assert not isinstance(getattr(batchlab, name), ModuleType), name
    assert dir(batchlab) == sorted(batchlab.__all__)
    with pytest.raises(AttributeError, match=r"no 'Workloads'; it has .*Workload"):
        batchlab.Workloads  # noqa: B018 (the access is what is tested)


def test_the_version_is_the_one_of_the_installed_distribution():
    assert batchlab.__version__ == version("batchlab")
    assert re.fullmatch(r"\d+\.\d+\.\d+", batchlab.__version__)


def documented_commands() -> Iterator[list[str]]:
    """The words of each command line that a page shows, without `batchlab`."""
    for page in PAGES:
        for block in blocks(page, "", "bash", "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("batchlab "):
                    yield shlex.split(line.partition(" > ")[0], comments=True)[1:]


def test_every_documented_command_is_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Files that a command is given have to be there.
    Path("points.csv").touch()
    Path("gpu.json").write_text(made_up_profile().to_json())
    shown = list(documented_commands())

    assert {words[0] for words in shown} >= {"advise", "sweep", "profile", "noise", "check", "fit"}
    for words in shown:
        understood(words)


def test_the_readme_begins_with_two_commands_and_names_and_denies_none_that_is_gone():
    """It said "several machines: not yet" two days after `--engine ray` was there."""
    readme = (ROOT / "README.md").read_text("utf-8")
    first_screen = "\n".join(readme.splitlines()[:FIRST_SCREEN_LINES])
    commands = re.search(r"```\n(.*?)```", first_screen, re.S)[1].splitlines()
    known = {
        option
        for command in command_line.commands.values()
        for parameter in command.params
        for option in parameter.opts
    }

    assert [line.split()[0] for line in commands] == ["scripts/demo", "scripts/test"]
    assert set(re.findall(r"`batchlab ([a-z]+)", readme)) <= set(command_line.commands)
    assert set(re.findall(r"`(--[a-z][a-z-]+)", readme)) <= known
    assert "not yet |" not in readme


def test_the_documentation_has_fifteen_pages_of_at_most_16_000_words():
    pages = [*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md"]
    written = [page.read_text("utf-8").partition("<!-- results -->")[0] for page in pages]

    assert len(pages) == 15
    assert sum(len(text.split()) for text in written) <= 16_000


def test_every_file_that_a_page_names_is_there():
    named = re.compile(r"(?<![\w/])(?:benchmarks|examples|scripts|tests)/[\w./-]*\w")

    pages = [ROOT / "README.md", *DOCS.glob("*.md")]
    paths = {path for page in pages for path in named.findall(page.read_text("utf-8"))}
    assert {"scripts/demo", "benchmarks/regret_whole.py"} <= paths
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_the_queries_of_the_documentation_run(tmp_path):
    with Store(tmp_path / "lab.db") as store:
        put_study(store, STUDY)
    queries = blocks(DOCS / "report.md", "sql")

    assert queries
    with closing(sqlite3.connect(tmp_path / "lab.db")) as connection:
        for query in queries:
            assert connection.execute(query).fetchall()


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("your-own-model.md", [*workload_names(), *(field.name for field in fields(Workload))]),
        ("agents.md", list(TOOLS)),
        ("noise-and-check.md", list(CAUSES)),
    ],
)
def test_a_page_names_all_that_there_is(page, names):
    text = (DOCS / page).read_text("utf-8")

    assert [name for name in names if f"`{name}`" not in text] == []


# A schema that differs is written anew: `python -m scripts.schemas`.
@pytest.mark.parametrize(("name", "schema"), schemas().items(), ids=list(schemas()))
def test_a_schema_is_that_of_its_document(name, schema):
    assert (DOCS / "schema" / f"{name}.json").read_text("utf-8") == schema


@pytest.mark.parametrize("script", ["setup", "demo", "test", "site", "figures", "nightly"])
def test_every_script_can_be_run_as_it_stands(script):
    path = ROOT / "scripts" / script

    assert path.stat().st_mode & 0o111, f"{path} is not executable"
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0


def test_every_figure_of_the_pages_has_a_command_beside_it_that_rebuilds_it():
    done = subprocess.run([ROOT / "scripts/figures"], capture_output=True, text=True, check=True)
    listed = dict(line.split() for line in done.stdout.splitlines())
    script = (ROOT / "scripts/figures").read_text("utf-8")
    known = re.findall(r"^ {8}([\w. |-]+)\)", script.partition("rebuild() {")[2], re.M)

    assert sorted(listed) == sorted(file.stem for file in DOCS.glob("figures/*.svg"))
    assert sorted(name for row in known for name in row.split(" | ")) == sorted(listed)
    for name, page in listed.items():
        text = (ROOT / page).read_text("utf-8")
        assert f"(figures/{name}.svg)" in text
        assert f"scripts/figures {name}" in text, f"{page} does not say how {name} is rebuilt"
