"""The page of scripts/nightly: what pytest said, as a table in Markdown on stdout."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

# A name may have spaces where it ends with the values of its parameters.
_TOOK = re.compile(r"^([0-9.]+)s call +(\S.*?)\s*$", re.MULTILINE)
_ENDED = re.compile(r"^(PASSED|FAILED) (\S+?(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)
# What a test printed stands below its name: figures that the page should show.
_PRINTED = re.compile(
    r"^_+ (\w+(?:\[.*\])?) _+\n-+ Captured stdout call -+\n((?:(?!_+ |[=-]{3}).*\n)*)", re.MULTILINE
)
# Whose examples are skipped where they are missing.
_FRAMEWORKS = ("torch", "transformers", "lightning", "keras", "jax")


def main() -> None:
    """Write the page from the file that is named."""
    said = Path(sys.argv[1]).read_text(encoding="utf-8")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    day = datetime.now(UTC).date().isoformat()
    print("# The last night\n")
    print(
        f"`scripts/nightly` runs what is too long for `scripts/test`. Last run: {day}, commit "
        f"{commit}, Python {platform.python_version()}, with {', '.join(_installed())}. Tests of "
        f"one name that print no figure are one row.\n"
    )
    print("| test | result | seconds | seen |\n|---|---|---|---|")
    for row in _rows(said):
        print(row)


def _rows(said: str) -> Iterator[str]:
    seconds = {name: float(took_s) for took_s, name in _TOOK.findall(said)}
    printed = {
        name: "; ".join(line.strip() for line in lines.splitlines())
        for name, lines in _PRINTED.findall(said)
    }
    cases: dict[tuple[str, str, str], list[float]] = {}
    for status, name in _ENDED.findall(said):
        test = name.rpartition("::")[2]
        seen = printed.get(test, "")
        shown = test if seen or status == "FAILED" else test.partition("[")[0]
        cases.setdefault((shown, status, seen), []).append(seconds.get(name, 0.0))
    for (test, status, seen), took_s in cases.items():
        claim = test.removeprefix("test_").replace("_", " ")
        n = f" ({len(took_s)} cases)" if len(took_s) > 1 else ""
        yield f"| {claim}{n} | {status.lower()} | {sum(took_s):.0f} | {seen} |"


def _installed() -> list[str]:
    versions = []
    for name in _FRAMEWORKS:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    return versions


if __name__ == "__main__":
    main()
