"""Out of memory: what the last lines of a command say when memory ran out, whichever framework.

A line counts only if the command failed: a script may print such words and go on. Some words are
said of other failures too; those need a witness beside them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Witness(Enum):
    """What must be known beside the words."""

    NONE = "none"
    KERNEL = "the kernel killed a process for memory meanwhile"
    FULL_DEVICE = "the memory of a device was nearly full"


@dataclass(frozen=True, slots=True)
class Words:
    """Words that a failed command says when memory ran out.

    Attributes:
        who: whose words they are.
        pattern: a regular expression, looked for in each of the last lines.
        witness: what must be known beside them.
    """

    who: str
    pattern: str
    witness: Witness = Witness.NONE


WORDS = (
    Words("PyTorch", r"torch(\.cuda)?\.OutOfMemoryError"),
    Words("PyTorch on CUDA, older", r"CUDA out of memory"),
    Words("PyTorch on ROCm", r"HIP out of memory"),
    Words("PyTorch on Apple", r"MPS backend out of memory"),
    Words("PyTorch on Intel", r"XPU out of memory"),
    Words("PyTorch on a CPU", r"DefaultCPUAllocator: (can't|not enough memory|cannot) "),
    Words("CUDA", r"CUDA(_| )?(runtime )?error[^\n]*out of memory"),
    Words("CUDA, its code", r"CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation"),
    Words("JAX", r"(XlaRuntimeError|JaxRuntimeError): RESOURCE_EXHAUSTED"),
    Words("JAX and TensorFlow", r"RESOURCE_EXHAUSTED: .*([Oo]ut of memory|OOM|allocat)"),
    Words("TensorFlow", r"ResourceExhaustedError|OOM when allocating tensor"),
    Words("Python", r"^(\[rank\d+\]: )?(\w+\.)*(_Array)?MemoryError\b"),
    Words("NumPy", r"_ArrayMemoryError|numpy.*Unable to allocate .* for an array"),
    Words("C++", r"std::bad_alloc"),
    Words("Rust", r"memory allocation of \d+ bytes failed"),
    Words("R", r"cannot allocate vector of size"),
    Words("Java", r"java\.lang\.OutOfMemoryError"),
    Words("the C library", r"(Errno 12|ENOMEM)\b|^[^\n]*: Cannot allocate memory"),
    Words("a worker of PyTorch", r"DataLoader worker .* killed by signal: Killed", Witness.KERNEL),
    Words("torchrun", r"Signal 9 \(SIGKILL\)|exitcode\s*:\s*-9\b", Witness.KERNEL),
    Words("a pool of Python", r"BrokenProcessPool|TerminatedWorkerError", Witness.KERNEL),
    Words("a shell", r"^(.*: )?(line \d+: +\d+ )?Killed\b", Witness.KERNEL),
    Words("cuBLAS", r"CUBLAS_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)", Witness.FULL_DEVICE),
    Words("cuDNN", r"CUDNN_STATUS_(ALLOC_FAILED|INTERNAL_ERROR)", Witness.FULL_DEVICE),
    Words("NCCL", r"ncclUnhandledCudaError", Witness.FULL_DEVICE),
)


def out_of_memory_line(
    last_lines: Sequence[str], *, kernel_killed: bool, is_device_full: bool
) -> str | None:
    """The last line by which a failed command says that memory ran out; None: none does.

    Args:
        last_lines: the end of its output.
        kernel_killed: whether the kernel killed a process for memory while it ran.
        is_device_full: whether the memory of one of its devices was nearly full.
    """
    seen = {Witness.NONE: True, Witness.KERNEL: kernel_killed, Witness.FULL_DEVICE: is_device_full}
    believed = re.compile("|".join(f"(?:{row.pattern})" for row in WORDS if seen[row.witness]))
    return next((line.strip() for line in reversed(last_lines) if believed.search(line)), None)
