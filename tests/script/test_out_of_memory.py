from __future__ import annotations

import signal
from pathlib import Path

import pytest

from batchlab.records.trial import Status
from batchlab.script.process import out_of_memory_line, status_and_reason

# As the frameworks print them.
SAID = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB.",  # PyTorch
    "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0",  # PyTorch on CUDA, older
    "torch.cuda.OutOfMemoryError: HIP out of memory. Tried to allocate 1.0 GiB",  # PyTorch on ROCm
    "RuntimeError: MPS backend out of memory (MPS allocated: 9.05 GB, other",  # PyTorch on Apple
    "RuntimeError: XPU out of memory. Tried to allocate 8.00 GiB (GPU 0; ",  # PyTorch on Intel
    "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to",  # PyTorch on a CPU
    "RuntimeError: CUDA error: out of memory",  # CUDA
    "failed to allocate 2.00GiB from device: CUDA_ERROR_OUT_OF_MEMORY",  # CUDA, its code
    "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying",  # JAX
    "ValueError: RESOURCE_EXHAUSTED: Failed to allocate request for 3.73GiB",  # JAX and TensorFlow
    "errors_impl.ResourceExhaustedError: OOM when allocating tensor with shape",  # TensorFlow
    "MemoryError",  # Python
    "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 745. GiB for",  # NumPy
    "terminate called after throwing an instance of 'std::bad_alloc'",  # C++
    "memory allocation of 80000000000 bytes failed",  # Rust
    "Error: cannot allocate vector of size 74.5 Gb",  # R
    'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space',  # Java
    "OSError: [Errno 12] Cannot allocate memory",  # the C library
)
SAID_OF_OTHER_FAILURES_TOO = [
    ({"kernel_killed": True, "is_device_full": False}, line)
    for line in (
        "DataLoader worker (pid 44) is killed by signal: Killed.",  # a worker of PyTorch
        "  traceback : Signal 9 (SIGKILL) received by PID 4711",  # torchrun
        "concurrent.futures.process.BrokenProcessPool: A process in the",  # a pool of Python
        "train.sh: line 3:  4711 Killed                  python train.py",  # a shell
    )
] + [
    ({"kernel_killed": False, "is_device_full": True}, line)
    for line in (
        "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling",  # cuBLAS
        "RuntimeError: cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",  # cuDNN
        "DistBackendError: NCCL error: ncclUnhandledCudaError: Call failed",  # NCCL
    )
]
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


@pytest.mark.parametrize("line", SAID)
def test_what_a_framework_says_when_memory_runs_out_is_known(line: str) -> None:
    assert out_of_memory_line(["Epoch 1", line, "bye"], **NONE_SEEN) == line.strip()


@pytest.mark.parametrize(("witness", "line"), SAID_OF_OTHER_FAILURES_TOO)
def test_words_that_are_said_of_other_failures_too_need_their_witness(
    witness: dict[str, bool], line: str
) -> None:
    other = {name: not seen for name, seen in witness.items()}

    assert out_of_memory_line([line], **witness) == line.strip()
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


def test_the_real_thing_is_recognized(start, tmp_path: Path) -> None:
    started = start(
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "bytearray(8 << 30)"
    )

    end = started.launched.wait(30)

    assert end is not None
    assert end.status == Status.OOM
    assert dict(end.reason.values) == {"error": "MemoryError"}  # type: ignore[union-attr]
