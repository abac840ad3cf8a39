"""Record the golden documents anew: `python -m tests.golden.record [NAME ...]`; none: all."""

import json
import sys
import tempfile
from pathlib import Path

from tests.golden.compare import DOCUMENTS, as_text
from tests.golden.studies import STUDIES, document_of


def main(names: list[str]) -> None:
    """Record those that are named, or all."""
    for name in names or STUDIES:
        path = DOCUMENTS / f"{name}.json"
        with tempfile.TemporaryDirectory() as folder:
            text = as_text(json.loads(json.dumps(document_of(name, Path(folder)))))
        path.write_text(text)
        print(f"{name}: {len(text)} bytes")
    for path in [] if names else DOCUMENTS.glob("*.json"):
        if path.stem not in STUDIES:
            path.unlink()
            print(f"{path.stem}: gone")


if __name__ == "__main__":
    main(sys.argv[1:])
