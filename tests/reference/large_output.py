"""A command that writes very much, and what is kept of it at which cost."""

import gzip
import os
import resource
import sys
import time
from pathlib import Path

from batchlab.records.trial import Status
from batchlab.script.process import Launched

WRITES = """
import os, sys
line = b"%09d " + b"loss 0.123 accuracy 0.4567 step_s 0.0123 " * 2 + b"\\n"
n = int(sys.argv[1]) // len(line % 0)
for first in range(0, n, 1000):
    os.write(1, b"".join(line % i for i in range(first, min(first + 1000, n))))
os.write(1, b"the end\\n")
"""


def assert_a_large_output_is_kept_small(folder: Path, *, n_bytes: int) -> None:
    seen = 0

    def count(piece: bytes, at_s: float) -> None:
        nonlocal seen
        seen += len(piece)

    own_before, started_s = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    with Launched(
        (sys.executable, "-I", "-S", "-c", WRITES, str(n_bytes)),
        cwd=folder,
        environment=os.environ,
        folder=folder,
        marker=f"large/{os.getpid()}-{time.monotonic_ns()}",
        on_output=count,
    ) as launched:
        end = launched.wait(600)
    own = resource.getrusage(resource.RUSAGE_SELF)
    own_cpu_s = own.ru_utime + own.ru_stime - own_before.ru_utime - own_before.ru_stime
    kept_bytes = (folder / "output.gz").stat().st_size
    print(
        f"{seen} bytes in {time.monotonic() - started_s:.1f} s; CPU of batchlab {own_cpu_s:.2f} s; "
        f"kept {kept_bytes} bytes"
    )

    assert end.status == Status.OK
    assert abs(seen - n_bytes) < 200
    assert kept_bytes < 4_000_000
    assert own.ru_maxrss - own_before.ru_maxrss < 50_000  # kibibytes
    assert own_cpu_s < 5e-8 * n_bytes + 1.0  # 50 ns a byte would be slow
    with gzip.open(folder / "output.gz") as file:
        text = file.read()
    assert text.startswith(b"000000000 loss")
    assert text.endswith(b"the end\n")
    assert b"\n[of %d bytes, batchlab kept these and the last]\n" % seen in text
