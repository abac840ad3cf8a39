"""Cluster: the address of a Ray cluster, and the CPUs and GPUs that each trial reserves in it.

Ray is imported only when it is used. Ray runs any code that it receives, so only trusted people
may reach the address.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any

from batchlab.errors import BatchlabError, ClusterError, UsageError

_CONNECT_S = 5.0  # The longest time to wait for a connection to an address.
_LONGEST_MESSAGE = 300  # Longer error messages are cut to this many characters.
_connected: dict[str, str] = {}  # Has the address of the connected cluster, by the key "address".


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A Ray cluster that trains the trials of a workload.

    Attributes:
        address: "auto" (this machine's cluster, or RAY_ADDRESS), "HOST:PORT" or "ray://...".
        cpus_per_trial: the CPU cores that each trial reserves; a trial has one thread per core.
        gpus_per_trial: GPUs per trial, from 0 to 1; if None, 1 on device "cuda" and 0 on "cpu".
    """

    address: str = "auto"
    cpus_per_trial: int = 1
    gpus_per_trial: float | None = None

    def for_device(self, device: str) -> Cluster:
        """Return a copy in which `gpus_per_trial`, if None, is 1 for "cuda" and 0 for "cpu".

        Raises:
            UsageError: fewer than 1 CPU per trial, or GPUs per trial that do not suit the device.
        """
        if not (type(self.cpus_per_trial) is int and self.cpus_per_trial >= 1):
            raise UsageError(
                f"CPUs per trial {self.cpus_per_trial!r}: expected a whole number of at least 1"
            )
        is_gpu = device.startswith("cuda")
        gpus = float(is_gpu if self.gpus_per_trial is None else self.gpus_per_trial)
        if not (0 < gpus <= 1 if is_gpu else gpus == 0):
            expected = "more than 0, at most 1" if is_gpu else "--device cuda with them"
            raise UsageError(f"GPUs per trial {gpus:g} with device {device}: expected {expected}")
        return replace(self, gpus_per_trial=gpus)

    def connect(self) -> None:
        """Connect this process to the cluster, unless the process is connected already.

        Raises:
            BatchlabError: Ray is not installed.
            UsageError: the address is not valid.
            ClusterError: no cluster answers, the cluster has another version of Ray, or no node
                of the cluster has enough CPUs and GPUs for a trial.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray must not send usage reports.
        try:
            import ray
        except ImportError as error:
            raise BatchlabError(
                "engine ray needs Ray, which is not installed: pip install 'batchlab[ray]'"
            ) from error
        if ray.is_initialized():
            if _connected.setdefault("address", self.address) != self.address:
                raise ClusterError(
                    f"address {self.address}: this process is connected to "
                    f"{_connected['address']}; call ray.shutdown() first"
                )
        else:
            self._check_address()
            self._join()
            _connected["address"] = self.address
        if not self.large_nodes():
            gpus = f" and {self.gpus_per_trial:g} GPU" if self.gpus_per_trial else ""
            raise ClusterError(
                f"a trial takes {self.cpus_per_trial} CPU{gpus}, and no node of the cluster has "
                f"that; give smaller --cpus-per-trial or --gpus-per-trial, or another --device"
            )

    def _join(self) -> None:
        import ray

        is_main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")
        except (Exception, SystemExit) as error:
            raise ClusterError(
                f"address {self.address}: {brief(error)}; start a cluster with ray start --head "
                "(and the same versions), or give the --address of another"
            ) from error
        finally:
            if is_main:  # Remove Ray's handler, which would end batchlab without storing progress.
                signal.signal(signal.SIGTERM, before)

    def large_nodes(self) -> set[str]:
        """Return the ids of the live nodes whose CPUs and GPUs suffice for at least one trial."""
        nodes = live_nodes().items()
        return {node_id for node_id, node in nodes if self.places(node["Resources"])}

    def places(self, resources: dict[str, float]) -> int:
        """Return how many trials can train at a time on a node that has `resources`."""
        places = int(resources.get("CPU", 0.0) // self.cpus_per_trial)
        if not self.gpus_per_trial:
            return places
        return min(places, int(resources.get("GPU", 0.0)) * self._per_gpu)

    def devices(self, n: int) -> list[str]:
        """Return the PyTorch devices of `n` trials on one node, such as ["cuda:0", "cuda:1"]."""
        if not self.gpus_per_trial:
            return ["cpu"] * n
        return [f"cuda:{place // self._per_gpu}" for place in range(n)]

    @property
    def _per_gpu(self) -> int:
        """The number of trials that share a GPU."""
        return int(1 / (self.gpus_per_trial or 1.0))

    def _check_address(self) -> None:
        """Raise an error if nothing answers at the address, where Ray would try for two minutes."""
        host, colon, port = self.address.rpartition(":")
        if not (colon and port.isdecimal()):
            if self.address != "auto" and "://" not in self.address:
                raise UsageError(
                    f"address {self.address}: expected auto, HOST:PORT or ray://HOST:PORT"
                )
            return
        try:
            socket.create_connection((host.rpartition("/")[2], int(port)), _CONNECT_S).close()
        except (OSError, OverflowError) as error:
            cause = getattr(error, "strerror", None) or error
            raise ClusterError(
                f"address {self.address}: nobody answers there ({cause}); start a cluster with "
                f"ray start --head, or give --address auto for the one of this machine"
            ) from error


def live_nodes() -> dict[str, dict[str, Any]]:
    """Return Ray's descriptions of the nodes that are alive, by node id."""
    import ray

    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def brief(error: BaseException) -> str:
    """Return the start of an error's message on one line; a message from Ray may be pages long."""
    message = " ".join(str(error).split()).rstrip(".")
    return shorten(message, _LONGEST_MESSAGE, placeholder=" ...") or type(error).__name__
