"""Experiment and Paper: the sweeps of a replication, and what is compared with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import batchlab
from batchlab import BatchlabError, Estimate, Study, Workload
from replications.claims import Claim

PAPERS = Path(__file__).parent / "papers"
NAMES = sorted(file.stem for file in PAPERS.glob("*.toml"))

Studies = Mapping[str, Study]  # by the names of the experiments
Measured = Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """A name, and the arguments of one call of `batchlab.sweep`."""

    name: str
    workload: str | Workload = "mnist-mlp"
    settings: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    batch_sizes: tuple[int | Literal["full"], ...]
    learning_rates: tuple[float, ...] | None = None
    seeds: int
    epochs: int | None = None
    steps: int | None = None
    target: tuple[str, float] | None = None
    sampling: Literal["reshuffle", "replacement"] = "reshuffle"
    measure: tuple[str, ...] = ()
    plans: tuple[Literal["grow", "decay"], ...] | None = None

    def run(self, *, store: Path, device: str) -> Study:
        """Train what the store does not hold yet.

        Raises:
            BatchlabError: a trial ended in an error, which is no result.
        """
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        name = given.pop("name")
        study = batchlab.sweep(**given, store=store, device=device)
        failed = sum(record.status == "error" for record in study.records)
        if failed:
            raise BatchlabError(
                f"{name}: {failed} of {len(study.records)} trials ended in an error; "
                f"`batchlab report --store {store}` says which. The same command runs them again"
            )
        if self.plans is None or self.epochs is None:
            return study
        # A sweep also trains plans for as long as the small batch takes; these are not compared.
        most = self.epochs + 0.5
        return replace(study, records=tuple(r for r in study.records if r.epochs < most))


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    """A published experiment.

    Attributes:
        name: of its files in `papers`.
        title: the question it asks.
        paper: authors, title and address of the source.
        protocol: what is trained, in sentences.
        left_open: what the source does not say, and what was taken instead.
        claims: what is compared with the source.
        experiments: returns the sweeps of the quick or the full form.
        measured: returns what these show, by name.
    """

    name: str
    title: str
    paper: str
    protocol: tuple[str, ...]
    left_open: tuple[str, ...]
    claims: tuple[Claim, ...]
    experiments: Callable[[bool], tuple[Experiment, ...]]
    measured: Callable[[Studies], Measured]

    @classmethod
    def named(cls, name: str) -> Paper:
        """Read the two files of a replication."""
        code = import_module(f"replications.papers.{name}")
        text = tomllib.loads((PAPERS / f"{name}.toml").read_text("utf-8"))
        return cls(
            name=name,
            title=text["title"],
            paper=text["paper"],
            protocol=tuple(text["protocol"]),
            left_open=tuple(text["left_open"]),
            claims=tuple(_claims(text)),
            experiments=code.experiments,
            measured=code.measured,
        )


def _claims(text: Mapping[str, Any]) -> Iterator[Claim]:
    """Yield the claims of a file; one with `each` stands for one per entry of that list.

    The entry's values replace their names in braces in the claim's texts.
    """
    for claim in text["claims"]:
        for entry in text[claim["each"]] if "each" in claim else [{}]:
            filled = {name: _filled(value, entry) for name, value in claim.items()}
            filled.pop("each", None)
            yield Claim(**filled)


def _filled(value: Any, entry: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return tuple(_filled(part, entry) for part in value)
    return value.format(**entry) if isinstance(value, str) and entry else value
