"""The list of claims: each names a test that there is."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
CLAIM = re.compile(r"^- .+: `(test_\w+)`$")


def test_every_claim_has_its_test() -> None:
    lines = (TESTS / "claims.md").read_text(encoding="utf-8").splitlines()
    claims = [line for line in lines if line.startswith("- ")]
    named = [found[1] for line in claims if (found := CLAIM.match(line))]
    there = {
        name
        for file in TESTS.rglob("test_*.py")
        for name in re.findall(r"^ *def (test_\w+)", file.read_text(encoding="utf-8"), re.M)
    }

    assert len(claims) == len(named) > 100
    assert sorted(set(named) - there) == []
