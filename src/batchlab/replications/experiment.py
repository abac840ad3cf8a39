"""Experiment and Paper: what is trained for a replication, and what is held against the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, Form
from batchlab.records.run import PlanName
from batchlab.records.study import Study
from batchlab.records.trial import Sampling, Setting
from batchlab.replications.claims import Claim
from batchlab.replications.tables import PublishedTable

Studies = Mapping[str, Study]  # by the names of the experiments, as far as they were begun
Measured = Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """One sweep: a name, and what `batchlab.sweep` is asked.

    Attributes:
        name: what the paper calls it.
        workload: a built-in one.
        cuts: of plans, where the rate is cut or the batch grows, as parts of the run.
        cut: of plans, by how much.
        timed: whether the steps of each batch size are timed alone.
    """

    name: str
    workload: str = "mnist-mlp"
    settings: Mapping[str, Setting] = field(default_factory=dict)
    batch_sizes: tuple[int | Literal["full"], ...]
    learning_rates: tuple[float, ...] | None = None
    seeds: int = 3
    epochs: int | None = None
    steps: int | None = None
    target: tuple[str, float] | None = None
    sampling: Sampling = "reshuffle"
    measure: tuple[str, ...] = ()
    plans: tuple[PlanName, ...] | None = None
    cuts: tuple[float, ...] = ()
    cut: float = 0.0
    timed: bool = False

    @property
    def words(self) -> str:
        """What is asked, as a line."""
        always = ("workload", "batch_sizes", "seeds")
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        told = {name: value for name, value in given.items() if name in always or value}
        del told["name"]
        return ", ".join(f"{name}={value!r}" for name, value in told.items())

    def smaller_than(self, full: Experiment) -> Iterator[str]:
        """What differs from the full form's, a phrase each."""
        for each in fields(self):
            own, other = getattr(self, each.name), getattr(full, each.name)
            if own == other:
                continue
            if each.name == "settings":
                for name in sorted({*own, *other}):
                    if own.get(name) != other.get(name):
                        yield f"{name} {_told(own.get(name))} for {_told(other.get(name))}"
            else:
                yield f"{each.name.replace('_', ' ')} {_told(own)} for {_told(other)}"


def _told(value: object) -> str:
    if value is None:
        return "the default"
    if isinstance(value, tuple):
        return ", ".join(map(_told, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    """What one file of `papers` says: a published experiment, as data.

    Attributes:
        title: what it asks.
        paper: what is replicated: authors, title, where it is.
        protocol: what is trained, in sentences.
        left_open: what the source does not say, and what was taken.
        experiments: the sweeps of a form.
        measured: what these show, by name.
        claims: what is held against it, of a form.
        drawings: its figures.
    """

    title: str
    paper: str
    protocol: tuple[str, ...]
    left_open: tuple[str, ...]
    experiments: Callable[[Form], tuple[Experiment, ...]]
    measured: Callable[[Studies, PublishedTable], Measured]
    claims: Callable[[Form], tuple[Claim, ...]]
    drawings: Callable[[Studies, PublishedTable], tuple[Drawing, ...]]

    def smaller(self) -> tuple[str, ...]:
        """What the quick form has less of than the full one, a phrase for each difference."""
        full = {each.name: each for each in self.experiments("full")}
        quick = {each.name: each for each in self.experiments("quick")}
        told: dict[str, list[str]] = {}
        for name, each in quick.items():
            for said in each.smaller_than(full[name]):
                told.setdefault(said, []).append(name)
        left_out = [name for name in full if name not in quick]
        lines = [f"{said}{_of(names, len(quick))}" for said, names in told.items()]
        lines += [f"not run: {', '.join(left_out)}"] if left_out else []
        return tuple(lines)


_MOST_NAMED = 4


def _of(names: list[str], n_all: int) -> str:
    """Which experiments a phrase is about; empty: all."""
    if len(names) == n_all:
        return ""
    return f" ({', '.join(names) if len(names) <= _MOST_NAMED else f'{len(names)} of {n_all}'})"
