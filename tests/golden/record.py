"""Record the golden documents anew: `python -m tests.golden.record [NAME ...]`."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from tests.golden.compare import DOCUMENTS, as_text
from tests.golden.studies import STUDIES, document_of


def main() -> None:
    """Record those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="one of the studies; none: all")
    names = parser.parse_args().names
    unknown = sorted(set(names) - set(STUDIES))
    if unknown:
        parser.error(f"no study {', '.join(unknown)}; there are {', '.join(STUDIES)}")
    for name in names or STUDIES:
        path = DOCUMENTS / f"{name}.json"
        with tempfile.TemporaryDirectory() as folder:
            text = as_text(json.loads(json.dumps(document_of(name, Path(folder)))))
        is_new = not path.exists() or path.read_text() != text
        path.write_text(text)
        print(f"{name}: {'written' if is_new else 'unchanged'}, {len(text)} bytes")
    if not names:
        for path in DOCUMENTS.glob("*.json"):
            if path.stem not in STUDIES:
                path.unlink()
                print(f"{path.stem}: gone")


if __name__ == "__main__":
    main()
