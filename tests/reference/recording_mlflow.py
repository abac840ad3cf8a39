"""A stand-in for MLflow that keeps in memory what it is told, as far as batchlab asks it."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class MlflowException(Exception):
    """What MLflow raises."""


class Runs(list[Any]):
    token = None


class Client:
    """The experiments of one tracking server."""

    def __init__(self) -> None:
        self.experiments: dict[str, list[Any]] = {}

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=name) if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        self.experiments[name] = []
        return name

    def create_run(self, experiment: str, *, start_time: int, run_name: str, tags: Any) -> Any:
        info = SimpleNamespace(
            run_id=f"{experiment}/{len(self.experiments[experiment])}",
            run_name=run_name,
            status="RUNNING",
            start_time=start_time,
            end_time=None,
        )
        data = SimpleNamespace(tags=dict(tags), params={}, history={})
        self.experiments[experiment].append(SimpleNamespace(info=info, data=data))
        return self.experiments[experiment][-1]

    def _run(self, run_id: str) -> Any:
        return next(
            run for runs in self.experiments.values() for run in runs if run.info.run_id == run_id
        )

    def log_batch(
        self, run_id: str, *, metrics: Any = (), params: Any = (), tags: Any = ()
    ) -> None:
        if len(metrics) > 1000:
            raise MlflowException("A batch logging request can contain at most 1000 metrics.")
        data = self._run(run_id).data
        data.params |= {each.key: each.value for each in params}
        data.tags |= {each.key: each.value for each in tags}
        for each in metrics:
            data.history.setdefault(each.key, []).append(each)

    def set_terminated(self, run_id: str, status: str, end_time: int) -> None:
        info = self._run(run_id).info
        info.status, info.end_time = status, end_time

    def search_runs(self, experiments: list[str], page_token: str | None = None) -> Runs:
        return Runs(self.experiments[experiments[0]])

    def get_metric_history(self, run_id: str, key: str) -> list[Any]:
        return list(self._run(run_id).data.history[key])


def install(monkeypatch: pytest.MonkeyPatch) -> Client:
    """Have `import mlflow` give the stand-in."""
    client = Client()
    module, entities, exceptions = map(
        ModuleType, ("mlflow", "mlflow.entities", "mlflow.exceptions")
    )
    pair = ("key", "value")
    for name, fields in (
        ("Metric", (*pair, "timestamp", "step")),
        ("Param", pair),
        ("RunTag", pair),
    ):

        def entity(*values: Any, fields: tuple[str, ...] = fields) -> Any:
            return SimpleNamespace(**dict(zip(fields, values, strict=True)))

        setattr(entities, name, entity)
    exceptions.MlflowException = MlflowException  # type: ignore[attr-defined]
    module.MlflowClient = lambda: client  # type: ignore[attr-defined]
    module.get_tracking_uri = lambda: "memory"  # type: ignore[attr-defined]
    for name, each in (
        ("mlflow", module),
        ("mlflow.entities", entities),
        ("mlflow.exceptions", exceptions),
    ):
        monkeypatch.setitem(sys.modules, name, each)
    return client
