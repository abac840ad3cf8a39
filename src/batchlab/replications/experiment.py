"""Experiment and Paper: what is trained for a replication, and what is held against the source."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

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
    def n_trainings(self) -> int:
        """How many it asks for."""
        kinds = self.batch_sizes if self.plans is None else self.plans
        return len(kinds) * len(self.learning_rates or (None,)) * self.seeds

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
    """A published experiment: what is said of it is data, what is trained and shown is code.

    Attributes:
        title: what it asks.
        paper: what is replicated: authors, title, where it is.
        protocol: what is trained, in sentences.
        left_open: what the source does not say, and what was taken.
        claims: what is held against it.
        needs_all: whether what is measured is about all of its sweeps together.
        experiments: the sweeps of a form.
        measured: what these show, by name.
        drawings: its figures.
    """

    title: str
    paper: str
    protocol: tuple[str, ...]
    left_open: tuple[str, ...]
    claims: tuple[Claim, ...]
    needs_all: bool = False
    experiments: Callable[[Form], tuple[Experiment, ...]]
    measured: Callable[[Studies, PublishedTable], Measured]
    drawings: Callable[[Studies, PublishedTable], tuple[Drawing, ...]]

    @classmethod
    def of(cls, code: ModuleType) -> Paper:
        """The replication of a file of `papers`, which does it; the TOML file beside says it."""
        assert code.__file__ is not None, "a file each"
        said = tomllib.loads(Path(code.__file__).with_suffix(".toml").read_text("utf-8"))
        return cls(
            title=said["title"],
            paper=said["paper"],
            protocol=tuple(said["protocol"]),
            left_open=tuple(said["left_open"]),
            claims=tuple(_claims(said)),
            needs_all=said.get("needs_all", False),
            experiments=code.experiments,
            measured=code.measured,
            drawings=code.drawings,
        )

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
        lines += [f"not run: {'; '.join(left_out)}"] if left_out else []
        return tuple(lines)


def _claims(said: Mapping[str, Any]) -> Iterator[Claim]:
    """The claims of a file; one with `each` is one for each entry of the list of that name.

    The entry's values stand where the claim's texts name them in braces.
    """
    for claim in said["claims"]:
        for entry in said[claim["each"]] if "each" in claim else [{}]:
            filled = {name: _filled(value, entry) for name, value in claim.items()}
            filled.pop("each", None)
            yield Claim(**filled)


def _filled(value: Any, entry: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return tuple(_filled(part, entry) for part in value)
    return value.format(**entry) if isinstance(value, str) and entry else value


_MOST_NAMED = 4


def _of(names: list[str], n_all: int) -> str:
    """Which experiments a phrase is about; empty: all."""
    if len(names) == n_all:
        return ""
    return f" ({'; '.join(names) if len(names) <= _MOST_NAMED else f'{len(names)} of {n_all}'})"
