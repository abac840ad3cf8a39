"""What a whole sweep takes of memory where its data are a small and a large file.

    python benchmarks/mapped_memory.py [KIND ...]

A sparse file of 16 MiB and one of 2 GiB are mapped as a tuple, as columns of a dict, and in a
Dataset that holds a map or the file's name. Of windows of tokens every place of
the file begins an example: a billion of them in 2 GiB. Ten times a second the private
memory of the command and all of its children is added up: the pages that no file and no other
process holds (`Private_Dirty` of `/proc/PID/smaps_rollup`). The largest sum is written down.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

import batchlab

RESULT = Path(__file__).parent / "results" / "mapped_memory.json"
SIZES_MIB = (16, 2048)
WIDTH = 1024  # numbers of an example: 4 KiB
CONTEXT = 64  # tokens of a window
KINDS = ("tuple", "dict", "map", "name", "windows")


class Rows(Dataset[Any]):
    """Examples of a file: through a map, or opened for each."""

    def __init__(self, file: Path, how: str) -> None:
        """Hold what `how` says: "map" or "name"."""
        self.n = file.stat().st_size // (4 * WIDTH)
        self.held: Any = rows_of(file) if how == "map" else file

    def __len__(self) -> int:
        """The number of examples."""
        return self.n

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """An example, copied."""
        rows = rows_of(self.held) if isinstance(self.held, Path) else self.held
        return torch.as_tensor(rows[index]).clone(), index % 8


class Windows(Dataset[Any]):
    """Each run of `CONTEXT` tokens of a file, as language models are trained with."""

    def __init__(self, file: Path) -> None:
        """Map the file."""
        self.tokens = np.memmap(file, dtype=np.uint16, mode="r")

    def __len__(self) -> int:
        """The number of windows."""
        return len(self.tokens) - CONTEXT

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """An example, copied."""
        window = self.tokens[index : index + CONTEXT].astype(np.float32)
        return torch.from_numpy(window), int(self.tokens[index + CONTEXT]) % 8


def rows_of(file: Path) -> Any:
    """The file as a map."""
    return np.memmap(file, dtype=np.float32, mode="r+").reshape(-1, WIDTH)


def workload(*, kind: str = "tuple", file: str = "") -> batchlab.Workload:
    """A linear classifier of the rows or windows of a file."""
    rows = rows_of(Path(file))
    labels = np.arange(len(rows)) % 8
    data: Any
    match kind:
        case "tuple":
            data = (rows, labels)
        case "dict":
            data = {0: rows, 1: labels}
        case "windows":
            data = Windows(Path(file))
        case _:
            data = Rows(Path(file), kind)
    width = CONTEXT if kind == "windows" else WIDTH
    return batchlab.Workload(
        name=f"rows in a {kind}",
        model=lambda: nn.Linear(width, 8),
        train=data,
        loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        learning_rate=0.01,
    )


def private_bytes(pid: int) -> int:
    """What a process and its children hold that no file and no other process does."""
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return 0
    found = re.search(r"^Private_Dirty:\s+(\d+) kB", told, re.MULTILINE)
    own = 1024 * int(found[1]) if found else 0
    return own + sum(private_bytes(int(child)) for child in children)


def largest(kind: str, mib: int) -> dict[str, Any]:
    """The largest sum during a sweep, and how long that took."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.bin"
        with file.open("wb") as sparse:
            sparse.truncate(mib * 1024**2)
        asked = [sys.executable, "-m", "batchlab", "sweep", f"{__file__}:workload"]
        asked += ["--set", f"kind={kind}", "--set", f"file={file}", "--batch-sizes", "32,256"]
        asked += ["--steps", "20", "--store", f"{folder}/lab.db"]
        started_s, most = time.perf_counter(), 0
        command = subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while command.poll() is None:
            most = max(most, private_bytes(command.pid))
            time.sleep(0.1)
        if command.returncode:
            raise SystemExit(f"{' '.join(asked)} ended with {command.returncode}")
    return {"kind": kind, "mib": mib, "private_bytes": most, "s": time.perf_counter() - started_s}


def main() -> None:
    """Measure each kind with both files; write and print what was found beside the others."""
    kinds = sys.argv[1:] or KINDS
    known = json.loads(RESULT.read_text()) if RESULT.exists() else []
    found = [row for row in known if row["kind"] not in kinds]
    found += [largest(kind, mib) for kind in kinds for mib in SIZES_MIB]
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    for row in found:
        print(f"{row['kind']:>7} {row['mib']:>5} MiB  {row['private_bytes'] / 1024**2:.0f} MiB")


if __name__ == "__main__":
    main()
