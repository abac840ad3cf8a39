"""The list of claims: each names a test that there is."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
CLAIM = re.compile(r"^- .+: `(test_\w+)`$")


def test_every_claim_has_its_test():
    lines = (TESTS / "claims.md").read_text(encoding="utf-8").splitlines()
    claims = [line for line in lines if line.startswith("- ")]
    named = [found[1] for line in claims if (found := CLAIM.match(line))]

    assert len(claims) == len(named) > 100
    assert sorted(set(named) - there()) == []


def test_everything_that_people_ask_for_is_held_by_a_test():
    page = (TESTS / "asked-for.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| (?!asked, or|---)", line)]
    named = [found[1] for row in rows if (found := re.search(r"\| `(test_\w+)` \|$", row))]

    assert len(rows) == len(named) == 25
    assert sorted(set(named) - there()) == []


def there() -> set[str]:
    return {
        name
        for file in TESTS.rglob("test_*.py")
        for name in re.findall(r"^ *def (test_\w+)", file.read_text(encoding="utf-8"), re.M)
    }
