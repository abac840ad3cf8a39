"""How the source and its history are written: no private dialect, and short subjects of commits."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "batchlab").rglob("*.py"))

# Phrases that readers stumbled over; the right-hand side is what to write.
DIALECT = {
    r"\bNone: ": "None if ...",
    r"\bso (many|much|far|few)\b(?! (that|as)\b)": "this many, or the number",
    r"\b(told|tells)\b": "reported, known, says",
    r"\bbeside\b": "next to, as well as",
    r"\b(to be had|anew|reckoned|thereof|whereof)\b": "available, again, counted",
    r"(^|[.:;] )Of (a|an|the|what|each|those|these)\b": "subject, verb, object",
    r", for (it|they|that|what|there|this)\b": "because",
}
MOST_PER_1000 = 10
LONGEST_SUBJECT = 72
SUBJECTS_READ = 20  # of the newest commits, merges left out


def texts(path: Path) -> Iterator[str]:
    """Yield the docstrings and comments of a file."""
    source = path.read_text("utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string.lstrip("# ")


@pytest.mark.slow
def test_docstrings_and_comments_are_plain_english():
    written = [(path, text) for path in SOURCES for text in texts(path) if text]

    odd = [
        f"{path.relative_to(ROOT)}: {text[:80]!r}: write {instead!r}"
        for path, text in written
        for phrase, instead in DIALECT.items()
        if re.search(phrase, text)
    ]
    assert len(odd) <= MOST_PER_1000 * len(written) / 1000, "\n".join(odd)


def test_subjects_of_commits_are_short():
    command = ["git", "log", "--no-merges", f"-{SUBJECTS_READ}", "--format=%s"]
    log = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if log.returncode != 0:
        pytest.skip("no git history here")

    assert [line for line in log.stdout.splitlines() if len(line) > LONGEST_SUBJECT] == []
