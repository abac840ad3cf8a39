"""What the documents say is there: links, commands, the first screen of the README."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FIRST_SCREEN_LINES = 20


def blocks_of(page: Path) -> list[list[str]]:
    """The lines of each fenced block of commands, without comments and empty lines."""
    fenced = re.findall(r"^```(?:bash|sh)?\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    lines = ([line.partition("#")[0].strip() for line in block.splitlines()] for block in fenced)
    return [[line for line in block if line] for block in lines]


def documented_commands() -> list[tuple[str, str]]:
    """Each documented `batchlab COMMAND` with the options it is shown with."""
    return sorted(
        {
            (line.split()[1], option)
            for page in PAGES
            for block in blocks_of(page)
            for line in block
            if line.startswith("batchlab ")
            # What stands after `--` are options of somebody's own script.
            for option in re.findall(r"--[a-z-]+", line.partition(" -- ")[0]) or ["--help"]
        }
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))

    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]

    assert broken == []


def test_the_first_screen_of_the_readme_has_exactly_the_two_commands() -> None:
    readme = ROOT / "README.md"
    first_screen = "\n".join(readme.read_text("utf-8").splitlines()[:FIRST_SCREEN_LINES])

    assert blocks_of(readme)[0] == ["scripts/demo", "scripts/test"]
    assert first_screen.count("```") == 2


@pytest.mark.parametrize("script", ["setup", "demo", "test", "site", "figures"])
def test_every_script_can_be_run_as_it_stands(script: str) -> None:
    path = ROOT / "scripts" / script

    assert path.stat().st_mode & 0o111, f"{path} is not executable"
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0


@pytest.mark.parametrize("command", sorted({command for command, _ in documented_commands()}))
def test_every_documented_option_is_one_of_its_command(command: str) -> None:
    options = {option for name, option in documented_commands() if name == command}

    main = "from batchlab.cli.main import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", main, command, "--help"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert options <= set(re.findall(r"--[a-z-]+", done.stdout))


def test_every_figure_of_the_pages_has_a_command_beside_it_that_rebuilds_it() -> None:
    done = subprocess.run([ROOT / "scripts/figures"], capture_output=True, text=True, check=True)
    listed = dict(line.split() for line in done.stdout.splitlines())

    assert sorted(listed) == sorted(file.stem for file in ROOT.glob("docs/figures/*.svg"))
    for name, page in listed.items():
        text = (ROOT / page).read_text("utf-8")
        assert f"(figures/{name}.svg)" in text
        assert f"scripts/figures {name}" in text, f"{page} does not say how {name} is rebuilt"


def test_every_listed_figure_is_one_that_the_command_knows() -> None:
    script = (ROOT / "scripts/figures").read_text("utf-8")
    known = re.findall(r"^ {8}([\w. |-]+)\)", script.partition("rebuild() {")[2], re.M)

    listed = re.findall(r"^([\w.-]+) +docs/", script, re.M)

    assert sorted(name for row in known for name in row.split(" | ")) == sorted(listed)
    refused = subprocess.run(
        [ROOT / "scripts/figures", "no-such"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "no figure 'no-such'" in refused.stderr
    assert listed[0] in refused.stderr
