"""Build: compilation of C text to a library, which is stored in the user's cache."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from batchlab.training.native.graph import RefusedError

_IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
_PROCESSOR = ("-march=native", "-mprefer-vector-width=512") if _IS_X86 else ("-mcpu=native",)
# Do not add -ffast-math, which would reorder sums and ignore NaN.
FLAGS = (
    "-O2", *_PROCESSOR, "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
    "-fopenmp-simd", "-fvisibility=hidden", "-std=gnu11", "-w", "-fPIC", "-shared",
)  # fmt: skip

COMPILER_S = 15.0  # the compiler is stopped after this many seconds; usually it takes 2 s


def built(text: str) -> Path:
    """Return the path of the library built from a C text; compile the text if needed.

    Raises:
        RefusedError: the compiler is missing, fails or hangs, or the cache can't be written to.
    """
    compiler = compiler_of_this_machine()
    if compiler is None:
        raise RefusedError("there is no C compiler (cc, gcc or clang)")
    file = os.stat(compiler)  # size and time identify the version of the compiler
    which = [compiler, str(file.st_size), str(file.st_mtime_ns), _processor()]
    key = hashlib.sha256("\0".join([text, *FLAGS, *which]).encode()).hexdigest()
    try:
        folder = cache_folder() / "native"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # only the user may put code here
        library = folder / f"{key[:32]}.so"
        if not library.exists():
            _compile(text, compiler, library)
        return library
    except (OSError, RuntimeError) as error:  # such as a full disk, or a user without a home folder
        raise RefusedError(f"its C code could not be built: {error}") from error


def cache_folder() -> Path:
    """Return the user's folder for files that can be made again, `$XDG_CACHE_HOME/batchlab`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "batchlab"


def loaded(library: Path) -> ctypes.CDLL:
    """Load a library into this process.

    Raises:
        RefusedError: the file is missing, is not a library, or may not be executed.
    """
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise RefusedError(f"its C code could not be built: {error}") from error


def compiler_of_this_machine() -> str | None:
    """Return the path of a C compiler, or None if there is none."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@cache
def _processor() -> str:
    """Return a description of the processor; compiled code may not run on other processors."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() + platform.machine()
    lines = text.split("\n\n")[0].splitlines()  # the lines that describe the first processor
    return "\n".join(
        filter(lambda line: line.startswith(("model name", "flags", "Features")), lines)
    )


def _compile(text: str, compiler: str, library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent, prefix="build-") as folder:
        source, output = Path(folder) / "native.c", Path(folder) / "native.so"
        source.write_text(text, encoding="utf-8")
        try:
            ended = subprocess.run(
                [compiler, *FLAGS, str(source), "-o", str(output), "-lm"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, "TMPDIR": folder, "LC_ALL": "C"},
                timeout=COMPILER_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RefusedError(f"the C compiler took more than {COMPILER_S:.3g} s") from error
        if ended.returncode:
            lines = ended.stderr.decode("utf-8", "replace").strip().splitlines()
            what = lines[0] if lines else f"it ended with {ended.returncode}"
            raise RefusedError(f"the C compiler failed: {what}")
        os.replace(output, library)
