"""The default values of a command's flags, found by parsing its Python code."""

from __future__ import annotations

import ast
import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path

from batchlab.script.command import plain_flag
from batchlab.script.identity import named_files

# Flags that make each optimizer update use several batches of the given batch size.
MULTIPLIERS = (
    *("gradient_accumulation_steps", "grad_accumulation_steps", "accumulate_grad_batches"),
    *("grad_accum_steps", "grad_accum", "accumulation_steps", "accum_iter", "update_freq"),
    *("iter_size", "nproc_per_node", "num_processes", "gpus", "devices", "num_gpus", "n_gpu"),
    *("num_nodes", "nnodes", "world_size"),
)
# Flags that let the batch grow during a training, up to the given batch size.
RAMP_UPS = (
    *("rampup_batch_size", "rampup_samples", "batch_size_rampup", "batch_size_warmup"),
    *("batch_warmup", "bs_warmup", "batch_rampup"),
)
_MOST_FILES = 50  # parse at most this many files, because parsing is slow
_SEVERAL = re.compile(r"[2-9]|[1-9]\d+")


def defaults_in_code(arguments: Sequence[str], place: Path) -> dict[str, float]:
    """Return the numeric default values of a command's flags, by the name of the flag.

    The scripts of the command, and modules that they import from nearby folders or from the working
    directory `place`, are parsed but never run. Defaults are found in calls that declare flags,
    such as calls of argparse, click or absl. Names have the form that `plain_flag` returns. A flag
    with several defaults, or with a default that is no number, is left out.
    """
    declared: dict[str, set[float | None]] = defaultdict(set)
    for node in _code_of(arguments, place):
        for name, expression in _declared(node):
            declared[plain_flag(name)].add(_number(expression))
    defaults = {}
    for name, numbers in declared.items():
        number = numbers.pop()
        if number is not None and not numbers:
            defaults[name] = number
    return defaults


def flags_set(
    names: Collection[str], arguments: Sequence[str], defaults: Mapping[str, float]
) -> tuple[str, ...]:
    """Return which of `names` the command or a default sets above 1, as texts like "--gpus 4"."""
    typed, set_to = set(), []
    for argument, following in zip(arguments, (*arguments[1:], ""), strict=True):
        flag, equals, value = argument.partition("=")
        text = argument
        if not equals:
            value, text = following, f"{flag} {following}"
        typed.add(plain_flag(flag))
        if plain_flag(flag) in names and _SEVERAL.fullmatch(value):
            set_to.append(text)
    for name in sorted({*names} - typed):
        if defaults.get(name, 0) > 1:
            set_to.append(f"--{name} {defaults[name]:g} (the default)")
    return (*set_to,)


def _code_of(arguments: Sequence[str], place: Path) -> Iterator[ast.AST]:
    """Yield the syntax nodes of a command's code, from at most `_MOST_FILES` files."""
    paths = [path for path in named_files(arguments, place) if path.suffix == ".py"]
    for path in islice(paths, _MOST_FILES):
        with suppress(OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            with warnings.catch_warnings():  # ignore warnings about escapes such as "\\d"
                warnings.simplefilter("ignore")
                nodes = [*ast.walk(ast.parse(path.read_bytes()))]
            yield from nodes
            for file in chain.from_iterable(_imported(node, path, place) for node in nodes):
                if file not in paths:
                    paths.append(file)


def _imported(node: ast.AST, path: Path, place: Path) -> Iterator[Path]:
    """Yield the files that an import in the file `path` refers to, near the file or in `place`."""
    names: list[str] = []
    if isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module]
    elif isinstance(node, ast.Import | ast.ImportFrom):
        names = [alias.name for alias in node.names]
    for name in names:
        for folder in (path.parent, path.parent.parent, place):
            module = folder.joinpath(*name.split("."))
            for file in (module.with_suffix(".py"), module / "__init__.py"):
                if file.is_file():
                    yield file


_DECLARING = {"add_argument", "add_option", "option", "Option"}


def _declared(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield each flag that a call declares, with the expression of its default value, if any."""
    if not isinstance(node, ast.Call):
        return
    called = getattr(node.func, "attr", getattr(node.func, "id", ""))
    named = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    constants = []
    for argument in node.args:
        if isinstance(argument, ast.Constant):
            constants.append(argument.value)
    flags = [text for text in constants if isinstance(text, str)]
    if called == "set_defaults":
        yield from named.items()
    elif called.startswith("DEFINE_") and flags and len(node.args) > 1:
        yield flags[0], node.args[1]
    elif called in _DECLARING:
        default = named.get("default")
        if default is None and called == "Option" and node.args:
            default = node.args[0]
        yield from ((flag, default) for flag in flags if flag.startswith("-"))


def _number(expression: ast.expr | None) -> float | None:
    """Return the value of a number literal, or of the first element of a list; else None."""
    if expression is None:
        return None
    try:
        value = ast.literal_eval(expression)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    if isinstance(value, list | tuple) and value:
        value = value[0]
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
