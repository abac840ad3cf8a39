"""Options of the command line that several commands share, and how their values are read."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from batchlab.app.budget import seconds_of
from batchlab.errors import UsageError
from batchlab.workload import builtin

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def batch_sizes(text: str) -> tuple[int | Literal["full"], ...]:
    """Return the batch sizes of a text such as `64,256,full`."""
    sizes: list[int | Literal["full"]] = []
    for part in _parts(text):
        if part == "full":
            sizes.append("full")
        elif re.fullmatch(r"\d{1,18}", part) and int(part) > 0:
            sizes.append(int(part))
        else:
            raise UsageError(
                f"batch size {part!r}: expected whole numbers of at least 1, or the word full for "
                f"the whole training set, such as 64,256,full"
            )
    return tuple(sizes)


def learning_rates(text: str) -> tuple[float, ...]:
    """Return the learning rates of a text such as `0.01,0.1`."""
    rates = []
    for part in _parts(text):
        rate = _number(part)
        if rate is None or rate <= 0:
            raise UsageError(
                f"learning rate {part!r}: expected finite numbers above 0, such as 0.01,0.1"
            )
        rates.append(rate)
    return tuple(rates)


def target(text: str) -> tuple[str, float]:
    """Return the metric and the value of a text such as `accuracy=0.97`."""
    metric, equals, value = text.partition("=")
    number = _number(value)
    if not (metric and equals) or number is None:
        raise UsageError(f"target {text!r}: expected METRIC=VALUE, such as accuracy=0.97")
    return metric.strip(), number


def setting(text: str) -> tuple[str, str]:
    """Return the name and the value's text of a text such as `width=1024`."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageError(f"setting {text!r}: expected KEY=VALUE, such as width=1024")
    return name.strip(), value.strip()


def n_bytes(text: str) -> int:
    """Return the bytes of a text such as `2GiB` (2^30 bytes each) or `2GB` (10^9 each)."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*(?:([kmgt])(i?))?b", text.strip().lower())
    value = 0
    if found:
        base = 1024 if found[3] else 1000
        value = int(float(found[1]) * base ** (" kmgt".index(found[2] or " ")))
    if value <= 0:
        raise UsageError(
            f"memory limit {text!r}: expected a size above 0, such as 2GiB, 1.5GB or 500MB"
        )
    return value


def plans(text: str) -> tuple[str, ...]:
    """Return the names of plans in a text such as `small,large,grow,decay`."""
    return tuple(_parts(text))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


class Parsed(click.ParamType[object]):
    """A flag's type that reads its text with a function; `--help` shows its `name`."""

    def __init__(self, name: str, parse: Callable[[str], object], expected: str = "") -> None:
        """Show `name` and read with `parse`; its ValueErrors get a message with `expected`."""
        self.name = name
        self._parse = parse
        self._expected = expected

    def get_metavar(self, param: object, ctx: object = None) -> str:
        """Return the name as it is: in click's capitals, `full` and `90s` would be refused."""
        return self.name

    def convert(self, value: object, param: object, ctx: object) -> object:
        """Read a text, and return anything else, which is a default, as it is."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except UsageError:
            raise
        except ValueError:
            option = param.opts[0] if isinstance(param, click.Parameter) else "value"
            raise UsageError(f"{option} {value}: expected {self._expected}") from None


def whole_number(least: int) -> Parsed:
    """Return a flag's type for a whole number of at least `least`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\s*[+-]?\d{1,18}\s*", text) or int(text) < least:
            raise ValueError
        return int(text)

    return Parsed("N", read, f"a whole number of at least {least}")


def number(such_as: str) -> Parsed:
    """Return a flag's type for a number; the command says which ones it takes."""
    return Parsed("NUMBER", float, f"a number, such as {such_as}")


BATCH_SIZES = Parsed("64,256,full", batch_sizes)
LEARNING_RATES = Parsed("0.01,0.1", learning_rates)
PLANS = Parsed("small,large,grow,decay", plans)
TARGET = Parsed("METRIC=VALUE", target)
SETTING = Parsed("KEY=VALUE", setting)
BUDGET = Parsed("90s|5m|1h30m", seconds_of)
TRAIN_TIME = Parsed("90s|5m|1h30m", partial(seconds_of, what="train time"))
BYTES = Parsed("2GiB", n_bytes)


def each_once(
    _context: click.Context, _parameter: click.Parameter, given: tuple[tuple[str, Any], ...]
) -> dict[str, Any]:
    """Return the settings by name, and refuse a name that was given twice."""
    found: dict[str, Any] = {}
    for name, value in given:
        if name in found:
            raise UsageError(
                f"setting {name!r} was given twice, as {found[name]} and as {value}; give it once, "
                f"and another command for the other value"
            )
        found[name] = value
    return found


def _built_in_or_file(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return what a shell offers for a workload: first files, then the built-in names."""
    from click.shell_completion import CompletionItem  # `--help` doesn't wait for it

    names = [name for name in builtin.workload_names() if name.startswith(incomplete)]
    return [CompletionItem(incomplete, type="file"), *map(CompletionItem, names)]


workload = click.argument("workload", default="mnist-mlp", shell_complete=_built_in_or_file)
settings = click.option(
    "--set",
    "settings",
    type=SETTING,
    multiple=True,
    callback=each_once,
    help="Change a setting of the workload, such as width=64. Give it again for another setting.",
)
margin = click.option(
    "--margin",
    type=number("0.002"),
    help="How much worse a training may end and still count as ending as well, in the metric's "
    "unit. Default: 5 % of what was learned or of the remaining errors, whichever is less.",
)
sampling = click.option(
    "--sampling",
    type=click.Choice(["reshuffle", "replacement"]),
    default="reshuffle",
    show_default=True,
    help="reshuffle: each epoch takes every example once, in a new order. replacement: each step "
    "draws its examples at random.",
)
drop_last = click.option(
    "--drop-last", is_flag=True, help="Leave out the last batch of each epoch if it is smaller."
)
memory_limit = click.option(
    "--memory-limit",
    "memory_limit_bytes",
    type=BYTES,
    help="The most memory that training may take. Default: all there is.",
)
device = click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="Where to run: cpu, cuda, or cuda:1 for the second GPU.",
)
trainer = click.option(
    "--trainer",
    type=click.Choice(["fastest", "plain"]),
    default="fastest",
    show_default=True,
    help="fastest: small models on a CPU are trained in C made for them, which agrees with PyTorch "
    "but for rounding. plain: PyTorch's own loop trains all.",
)
_CLUSTER = (
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Where to train. local: this machine. ray: the nodes of a Ray cluster. Steps are "
        "timed on this machine.",
    ),
    click.option(
        "--address",
        metavar="HOST:PORT",
        help="With --engine ray: the cluster, as HOST:PORT, ray://HOST:PORT or auto. Whoever can "
        "reach a cluster can run code on it. Default: auto, RAY_ADDRESS or this machine's.",
    ),
    click.option(
        "--cpus-per-trial",
        type=whole_number(1),
        help="With --engine ray: the processors of a node that one training takes. Default: 1.",
    ),
    click.option(
        "--gpus-per-trial",
        type=number("0.5"),
        help="With --engine ray: the GPU, or the part of one, that one training takes. Default: 1 "
        "with --device cuda.",
    ),
)


def on_cluster(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a cluster, which are passed on as `cluster`, or None for this machine."""

    @functools.wraps(function)
    def called(*passed: Any, engine: str, **params: Any) -> Any:
        names = ("address", "cpus_per_trial", "gpus_per_trial")
        given = {name: params.pop(name) for name in names}
        given = {name: value for name, value in given.items() if value is not None}
        if engine == "ray":
            from batchlab.runs.cluster import Cluster

            return function(*passed, cluster=Cluster(**given), **params)
        for name in given:
            raise UsageError(f"--{name.replace('_', '-')} is for --engine ray; give both")
        return function(*passed, cluster=None, **params)

    for option in reversed(_CLUSTER):
        called = option(called)
    return called


minute = click.option(
    "--budget",
    type=BUDGET,
    default="60s",
    show_default=True,
    help="Stop after this much time at most.",
)
store = click.option(
    "--store",
    type=click.Path(path_type=Path),
    default="batchlab.db",
    show_default=True,
    help="The file that keeps all results.",
)
study = click.option(
    "--study",
    "study_id",
    help="Which study, by the start of its id. Default: the last.",
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."
)
quiet = click.option(
    "--quiet", is_flag=True, help="Print only the result and errors: no progress, no warnings."
)
