"""The page of scripts/nightly: what pytest said, as a table in Markdown on stdout."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

# A name may have spaces where it ends with the values of its parameters.
_TOOK = re.compile(r"^([0-9.]+)s call +(\S.*?)\s*$", re.MULTILINE)
_ENDED = re.compile(r"^(PASSED|FAILED) (\S+?(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)
# What a test printed stands below its name: figures that the page should show.
_PRINTED = re.compile(
    r"^_+ (\w+(?:\[.*\])?) _+\n-+ Captured stdout call -+\n((?:(?![_=-]{3}).*\n)*)", re.MULTILINE
)


def main() -> None:
    """Write the page from the file that is named."""
    said = Path(sys.argv[1]).read_text(encoding="utf-8")
    seconds = {name: float(took_s) for took_s, name in _TOOK.findall(said)}
    printed = {
        name: "; ".join(line.strip() for line in lines.splitlines())
        for name, lines in _PRINTED.findall(said)
    }
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    day = datetime.now(UTC).date().isoformat()
    print("# The last night\n")
    print(
        f"`scripts/nightly` runs what is too long for `scripts/test`. Last run: {day}, commit "
        f"{commit}, Python {platform.python_version()}.\n"
    )
    print("| test | result | seconds | seen |\n|---|---|---|---|")
    for status, name in _ENDED.findall(said):
        test = name.rpartition("::")[2]
        claim = test.removeprefix("test_").replace("_", " ")
        took = f"{seconds.get(name, 0.0):.0f}"
        print(f"| {claim} | {status.lower()} | {took} | {printed.get(test, '')} |")


if __name__ == "__main__":
    main()
