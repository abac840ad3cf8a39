"""ScriptCode: the default values of a command's flags, found by parsing its Python code."""

from __future__ import annotations

import ast
import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path

from batchlab.script.command import plain_flag
from batchlab.script.identity import named_files

# Flags that make one update use several batches of the given size.
MULTIPLIERS = (
    *("gradient_accumulation_steps", "grad_accumulation_steps", "accumulate_grad_batches"),
    *("grad_accum_steps", "grad_accum", "accumulation_steps", "accum_iter", "update_freq"),
    *("iter_size", "nproc_per_node", "num_processes", "gpus", "devices", "num_gpus", "n_gpu"),
    *("num_nodes", "nnodes", "world_size"),
)
# Flags that fix the number of steps in an epoch, whatever the batch size.
STEPS_OF_EPOCH = (
    *("steps_per_epoch", "iterations_per_epoch", "num_iterations_per_epoch", "iters_per_epoch"),
    *("batches_per_epoch", "num_batches_per_epoch", "epoch_length", "limit_train_batches"),
)
# Flags that let the batch grow during a training, up to the given size.
RAMP_UPS = (
    *("rampup_batch_size", "rampup_samples", "batch_size_rampup", "batch_size_warmup"),
    *("batch_warmup", "bs_warmup", "batch_rampup"),
)
_MOST_FILES = 50  # parse no more: flags are declared near the script, and parsing is slow
_SEVERAL = re.compile(r"[2-9]|[1-9]\d+")


class ScriptCode:
    """The defaults that a command's code gives to its flags. The code is parsed, never run.

    The scripts of the command are parsed, and the modules in their folders that they import.
    Defaults are found in calls that declare flags, such as those of argparse, click or absl.
    """

    def __init__(self, arguments: Sequence[str], place: Path) -> None:
        """Parse the code of a command whose working directory is `place`."""
        self.arguments, self.place = arguments, place
        # By plain flag name, the numbers declared as defaults; None for a default of another type.
        self._defaults: dict[str, set[float | None]] = defaultdict(set)
        for node in _code_of(arguments, place):
            for name, expression in _declared(node):
                self._defaults[plain_flag(name)].add(_number(expression))

    def default(self, flag: str) -> float | None:
        """Return the default number of a flag; None if the code declares no number or several."""
        numbers = self._defaults.get(plain_flag(flag), ())
        return next(iter(numbers)) if len(numbers) == 1 else None

    def flags_set(self, names: Collection[str]) -> tuple[str, ...]:
        """Return the flags among `names` that the command or its code sets above 1, with values."""
        typed, set_to = set(), []
        for argument, following in zip(self.arguments, (*self.arguments[1:], ""), strict=True):
            flag, equals, value = argument.partition("=")
            text = argument
            if not equals:
                value, text = following, f"{flag} {following}"
            typed.add(plain_flag(flag))
            if plain_flag(flag) in names and _SEVERAL.fullmatch(value):
                set_to.append(text)
        for name in sorted({*names} - typed):
            if (number := self.default(name) or 0) > 1:
                set_to.append(f"--{name} {number:g} (the default)")
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
    """Yield files that `node`, in file `path`, imports from near `path` or from `place`."""
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
    constants = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
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
