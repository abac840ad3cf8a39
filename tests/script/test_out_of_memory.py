from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from batchlab.records.trial import Status
from batchlab.script.process import WORDS, Witness, out_of_memory_line, status_and_reason

# As the frameworks print them.
SAID = {
    "PyTorch": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB.",
    "PyTorch on CUDA, older": "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0",
    "PyTorch on ROCm": "torch.cuda.OutOfMemoryError: HIP out of memory. Tried to allocate 1.0 GiB",
    "PyTorch on Apple": "RuntimeError: MPS backend out of memory (MPS allocated: 9.05 GB, other",
    "PyTorch on Intel": "RuntimeError: XPU out of memory. Tried to allocate 8.00 GiB (GPU 0; ",
    "PyTorch on a CPU": "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. "
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 400000000000 bytes.",
    "CUDA": "RuntimeError: CUDA error: out of memory",
    "CUDA, its code": "failed to allocate 2.00GiB from device: CUDA_ERROR_OUT_OF_MEMORY",
    "JAX": "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying",
    "JAX and TensorFlow": "ValueError: RESOURCE_EXHAUSTED: Failed to allocate request for 3.73GiB",
    "TensorFlow": "tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when "
    "allocating tensor with shape[512,512,512,64]",
    "Python": "MemoryError",
    "NumPy": "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 745. GiB for an array "
    "with shape (100000, 1000000)",
    "C++": "terminate called after throwing an instance of 'std::bad_alloc'",
    "Rust": "memory allocation of 80000000000 bytes failed",
    "R": "Error: cannot allocate vector of size 74.5 Gb",
    "Java": 'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space',
    "the C library": "OSError: [Errno 12] Cannot allocate memory",
    "a worker of PyTorch": "RuntimeError: DataLoader worker (pid 44) is killed by signal: Killed. ",
    "torchrun": "  traceback : Signal 9 (SIGKILL) received by PID 4711",
    "a pool of Python": "concurrent.futures.process.BrokenProcessPool: A process in the process "
    "pool was terminated abruptly",
    "a shell": "train.sh: line 3:  4711 Killed                  python train.py",
    "cuBLAS": "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling "
    "`cublasCreate(handle)`",
    "cuDNN": "RuntimeError: cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
    "NCCL": "torch.distributed.DistBackendError: NCCL error: ncclUnhandledCudaError: Call failed",
}
ALL_SEEN = {"kernel_killed": True, "is_device_full": True}
NONE_SEEN = {"kernel_killed": False, "is_device_full": False}


def end_of(
    *lines: str, wait_status: int = 1 << 8, kernel_killed: bool = False, asked: bool = False
) -> Status:
    return status_and_reason(
        ("python", "train.py"),
        wait_status=wait_status,
        was_asked=asked,
        kernel_killed=kernel_killed,
        is_device_full=False,
        last_lines=lines,
    )[0]


@pytest.mark.parametrize("row", WORDS, ids=lambda row: row.who)
def test_what_a_framework_says_when_memory_runs_out_is_known(row: object) -> None:
    line = SAID[row.who]  # type: ignore[attr-defined]

    assert re.search(row.pattern, line)  # type: ignore[attr-defined]
    assert out_of_memory_line(["Epoch 1", line, "bye"], **ALL_SEEN) == line.strip()


@pytest.mark.parametrize(
    "row", [row for row in WORDS if row.witness != Witness.NONE], ids=lambda row: row.who
)
def test_words_that_are_said_of_other_failures_too_need_their_witness(row: object) -> None:
    line = SAID[row.who]  # type: ignore[attr-defined]
    other = {
        "kernel_killed": row.witness != Witness.KERNEL,  # type: ignore[attr-defined]
        "is_device_full": row.witness != Witness.FULL_DEVICE,  # type: ignore[attr-defined]
    }

    assert out_of_memory_line([line], **NONE_SEEN) is None
    assert out_of_memory_line([line], **other) is None


@pytest.mark.parametrize(
    "line",
    [
        "step 100 loss 0.23",
        "memory: 12 GB allocated, 3 GB free",
        "UserWarning: set PYTORCH_CUDA_ALLOC_CONF to avoid running out of memory",
        "KeyError: 'MemoryErrors'",
        "requests.exceptions.HTTPError: 429 RESOURCE_EXHAUSTED: quota exceeded",
        "RuntimeError: CUDA error: device-side assert triggered",
        "ValueError: Killed whales",
        "OSError: [Errno 28] No space left on device",
    ],
)
def test_other_lines_are_not_taken_for_it(line: str) -> None:
    assert out_of_memory_line([line], **NONE_SEEN) is None


def test_words_alone_count_only_together_with_a_failed_exit() -> None:
    assert end_of("CUDA out of memory, trying half the batch", wait_status=0) == Status.OK
    assert end_of("CUDA out of memory, trying half the batch") == Status.OOM


@pytest.mark.parametrize("wait_status", [signal.SIGKILL, 137 << 8], ids=["command", "shell"])
def test_signal_nine_is_memory_only_if_the_kernel_killed_for_it(wait_status: int) -> None:
    assert end_of(wait_status=wait_status, kernel_killed=True) == Status.OOM
    assert end_of(wait_status=wait_status, kernel_killed=False) == Status.KILLED


def test_a_kill_for_memory_elsewhere_is_not_blamed_for_a_mistake() -> None:
    assert end_of("NameError: name 'x' is not defined", kernel_killed=True) == Status.ERROR


def test_an_end_that_batchlab_asked_for_is_no_failure_whatever_was_said() -> None:
    assert end_of("MemoryError", asked=True) == Status.KILLED


def test_every_row_has_its_example() -> None:
    assert {row.who for row in WORDS} == set(SAID)


def test_the_real_thing_is_recognized(start, tmp_path: Path) -> None:
    started = start(
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "bytearray(8 << 30)"
    )

    end = started.launched.wait(30)

    assert end is not None
    assert end.status == Status.OOM
    assert dict(end.reason.values) == {"error": "MemoryError"}  # type: ignore[union-attr]
