"""NVML of a machine with two GPUs, made up."""

from types import SimpleNamespace

GB = 1 << 30


class FakeNvml:
    """Two GPUs; `used` and `users` are what NVML says next."""

    def __init__(self, *, users: list[dict[int, int | None]], used: list[int]) -> None:
        self.users, self.used = users, used

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, gpu: int) -> SimpleNamespace:
        if self.used[gpu] < 0:
            raise RuntimeError("GPU is lost")
        return SimpleNamespace(used=self.used[gpu])

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: int) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.users[gpu].items()
        ]
