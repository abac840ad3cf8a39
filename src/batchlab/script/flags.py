"""Flags of a command: found in its help and code, and written into a `batchlab.toml` draft."""

from __future__ import annotations

import ast
import json
import os
import re
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from batchlab.errors import BatchlabError
from batchlab.script.command import NAMES, placeholders_in, plain_flag
from batchlab.script.identity import named_files
from batchlab.script.process import Launched
from batchlab.script.reading import number_of
from batchlab.words.reasons import reason_text

_LONGEST_HELP = 200_000
# A wide, plain terminal keeps the lines of the help unbroken and uncolored.
_PLAIN = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def help_of(command: Sequence[str], limit_s: float, place: Path) -> tuple[str, str | None]:
    """Return the --help output of a command in a folder, and what was wrong (None if nothing was).

    Placeholders are left out, with their flags. After `limit_s` seconds the command is stopped.

    Raises:
        BatchlabError: the command can't be run.
    """
    output = bytearray()
    with (
        tempfile.TemporaryDirectory() as folder,
        Launched(
            [*_without_placeholders(command), "--help"],
            cwd=place,
            environment={**os.environ, **_PLAIN},
            folder=Path(folder),
            marker=f"help-{os.getpid()}/0",
            on_output=lambda piece, at_s: output.extend(piece[: _LONGEST_HELP - len(output)]),
        ) as launched,
    ):
        end = launched.wait(limit_s)
    text = output.decode("utf-8", "replace")
    if end is None:
        return text, (
            f"the command did not end within {limit_s:g} s of --help, and was stopped: it may "
            f"not know --help"
        )
    if end.exit_code is None:
        raise BatchlabError(reason_text(end.reason))
    if end.exit_code == 0:
        return text, None
    return text, f"with --help {reason_text(end.reason).rstrip('.')}"


def _without_placeholders(command: Sequence[str]) -> list[str]:
    """Drop the placeholders, because a parser that reads `{batch_size}` fails before --help."""
    arguments: list[str] = []
    for argument in command:
        if not placeholders_in(argument, where=f"the argument {argument!r}"):
            arguments.append(argument)
        elif argument.startswith("{") and arguments and arguments[-1].startswith("-"):
            arguments.pop()
    return arguments


_BOXES = re.compile(r"[│┃|╭╮╰╯─━]")
_FLAG = r"--?[A-Za-z][\w.\-]*"
# "-b N, --batch-size N  help", "--lr FLOAT  help", "--seed: help", "--rate=RATE"
_DECLARED = re.compile(
    rf"^\s*(?P<flags>{_FLAG}(?:[ =](?:[A-Z<\[{{][^\s,]*))?"
    rf"(?:(?:,\s*|\s*/\s*|\s+){_FLAG}(?:[ =](?:[A-Z<\[{{][^\s,]*))?)*)(?P<rest>:?.*)$"
)
_VALUE_KIND = re.compile(
    r"^\s+(?:INTEGER|INT|FLOAT|TEXT|PATH|DIRECTORY|FILE|FILENAME|NUMBER|STR|<\w+>)\b", re.IGNORECASE
)
# One value, or several between brackets.
_DEFAULT = re.compile(
    r"default(?:s to|:|=| is)?\s*(?:[\[(]\s*(?P<several>[\w.\-]+(?:[,\s]+[\w.\-]+)*)\s*[\])]|"
    r"['\"]?(?P<value>[^\s'\")\],;]+))",
    re.IGNORECASE,
)
_HYDRA = re.compile(r"^.*Override anything in the config.*$", re.MULTILINE)
_YAML_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z_][\w\-]*):\s*(?P<value>\S.*)?$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """A way to give a script one value."""

    name: str  # as typed: `--lr`, or `train.lr` if it overrides a setting
    names: tuple[str, ...] = ()  # all names that the help shows, including `name`
    default: str | None = None  # as the help shows it; None if it does not
    others: tuple[str, ...] = ()  # the values behind the first, if it takes several

    def arguments(self, placeholder: str) -> tuple[str, ...]:
        """Return the arguments that give this flag the value of a placeholder."""
        value = f"{{{placeholder}}}"
        is_short = self.name.startswith("-") and not self.name.startswith("--")
        if self.others or is_short:
            return (self.name, value, *self.others)
        return (f"{self.name}={value}",)


def flags_in(help_text: str) -> dict[str, Flag]:
    """Return the flags that the help shows, by the placeholder whose value each takes.

    The help may come from argparse, click, absl, Fire, Hydra or the like.
    """
    shown: dict[str, Flag] = {}
    for flag in _shown(help_text):
        for name in flag.names:
            shown.setdefault(plain_flag(name), flag)
    flags: dict[str, Flag] = {}
    for placeholder, names_of_scripts in NAMES.items():
        for name in names_of_scripts:
            if name in shown:
                flags.setdefault(placeholder, shown[name])
    return flags


def flag_named(help_text: str, typed: str) -> Flag | None:
    """Return the flag that has this name among its names, or None if the help does not show it."""
    return next((flag for flag in _shown(help_text) if typed in flag.names), None)


# Flags that use several batches of the given size for one update.
MULTIPLIERS = (
    *("gradient_accumulation_steps", "grad_accumulation_steps", "accumulate_grad_batches"),
    *("grad_accum_steps", "grad_accum", "accumulation_steps", "accum_iter", "update_freq"),
    *("iter_size", "nproc_per_node", "num_processes", "gpus", "devices", "num_gpus", "n_gpu"),
    *("num_nodes", "nnodes", "world_size"),
)
# Flags that give an epoch as many steps with every batch size.
STEPS_OF_EPOCH = (
    *("steps_per_epoch", "iterations_per_epoch", "num_iterations_per_epoch", "iters_per_epoch"),
    *("batches_per_epoch", "num_batches_per_epoch", "epoch_length", "limit_train_batches"),
)
# Flags that let the batch grow to the size that a script is given.
RAMP_UPS = (
    *("rampup_batch_size", "rampup_samples", "batch_size_rampup", "batch_size_warmup"),
    *("batch_warmup", "bs_warmup", "batch_rampup"),
)
_MOST_FILES = 50  # a parser stands near the script, and reading a whole project takes seconds
_SEVERAL = re.compile(r"[2-9]|[1-9]\d+")
_Declared = Iterator[tuple[str, ast.expr | None]]
_Defaults = dict[str, set[float | None]]


class ScriptCode:
    """The defaults that a command's code gives to its flags. The code is parsed, never run.

    The scripts of the command are read, and the modules in their folders that they import. A call
    that declares a flag counts first, as of argparse, click or absl. Only if none names it, as when
    a framework makes the flags, a variable, a field of a class, an argument of a function or a key
    of a dictionary with its name counts, in the first file that has one.
    """

    def __init__(self, arguments: Sequence[str], place: Path) -> None:
        """Read the code behind a command that runs in a folder."""
        self.arguments, self.place = arguments, place
        files = _code_of(arguments, place)
        self._declared = _defaults(list(chain.from_iterable(files)), _of_parser)
        self._named = [_defaults(nodes, _of_name) for nodes in files]

    def default(self, flag: str) -> float | None:
        """Return the number that is the only default of a flag, or None."""
        name = plain_flag(flag)
        numbers = self._declared.get(name)
        if numbers is None and len(name) > 1:  # one letter may be anything
            numbers = next((names[name] for names in self._named if name in names), None)
        return _only(numbers)

    def flags_set(self, names: Collection[str]) -> tuple[str, ...]:
        """Return the flags among `names`, as typed, that the command or its code sets above 1."""
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
            if (number := _only(self._declared.get(name)) or 0) > 1:
                set_to.append(f"--{name} {number:g} (the default)")
        return (*set_to,)


def _code_of(arguments: Sequence[str], place: Path) -> list[list[ast.AST]]:
    """Return the syntax nodes of each file of a command's code, the nearest `_MOST_FILES`."""
    files = []
    paths = [path for path in named_files(arguments, place) if path.suffix == ".py"]
    for path in islice(paths, _MOST_FILES):
        with suppress(OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            with warnings.catch_warnings():  # Python warns about escapes such as "\\d"
                warnings.simplefilter("ignore")
                nodes = [*ast.walk(ast.parse(path.read_bytes()))]
            files.append(nodes)
            for file in chain.from_iterable(_imported(node, path, place) for node in nodes):
                if file not in paths:
                    paths.append(file)
    return files


def _defaults(nodes: Sequence[ast.AST], declared: Callable[[ast.AST], _Declared]) -> _Defaults:
    """Return the numbers given as defaults, None for one that is no number, by plain flag."""
    numbers: _Defaults = defaultdict(set)
    for node in nodes:
        for name, expression in declared(node):
            numbers[plain_flag(name)].add(_number(expression))
    return dict(numbers)


def _only(numbers: set[float | None] | None) -> float | None:
    return next(iter(numbers)) if numbers and len(numbers) == 1 else None


def _imported(node: ast.AST, path: Path, place: Path) -> Iterator[Path]:
    """Yield the files near `path`, or in `place`, that a piece of its code imports."""
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


def _of_parser(node: ast.AST) -> _Declared:
    """Yield the flags that a call declares, and the expression for their default if it has one."""
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


def _of_name(node: ast.AST) -> _Declared:
    """Yield the variables, fields, arguments and keys of a piece of code, and their values."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id, node.value
    elif isinstance(node, ast.arguments):
        positional = [*node.posonlyargs, *node.args]
        arguments = (*positional[len(positional) - len(node.defaults) :], *node.kwonlyargs)
        defaults = (*node.defaults, *node.kw_defaults)
        for argument, value in zip(arguments, defaults, strict=True):
            if value is not None:
                yield argument.arg, value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, value


def _number(expression: ast.expr | None) -> float | None:
    """Return the value of a number, or the first of a list of numbers; else None."""
    if expression is None:
        return None
    try:
        value = ast.literal_eval(expression)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    if isinstance(value, list | tuple) and value:
        value = value[0]
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _shown(text: str) -> Iterator[Flag]:
    """Yield each flag in a help text."""
    hydra = _HYDRA.search(text)
    if hydra:
        yield from _overrides(text[hydra.end() :])
        return
    lines = [_BOXES.sub(" ", line) for line in text.splitlines()]
    for number, line in enumerate(lines):
        match = _DECLARED.match(line)
        if match is None or not _takes_value(match["flags"], match["rest"]):
            continue
        names = re.findall(rf"(?<![\w\-]){_FLAG}", match["flags"])
        longest = max(names, key=lambda name: (name.startswith("--"), len(name)))
        help_lines = [match["rest"]]
        for more in lines[number + 1 : number + 5]:  # until the next flag
            if not more.strip() or more.lstrip().startswith("-"):
                break
            help_lines.append(more)
        flag = Flag(name=longest, names=tuple(names))
        default = _DEFAULT.search(" ".join(help_lines))
        if default is not None and default["several"]:
            value, *others = re.split(r"[,\s]+", default["several"])
            flag = replace(flag, default=value, others=tuple(others))
        elif default is not None:
            flag = replace(flag, default=default["value"].rstrip("."))
        yield flag


def _takes_value(flags: str, rest: str) -> bool:
    """Return whether the flag takes a value: the value has a name, or absl's colon follows."""
    has_name = re.search(rf"{_FLAG}[ =][A-Z<\[{{]", flags) is not None
    return has_name or rest.startswith(":") or _VALUE_KIND.match(rest) is not None


def _overrides(text: str) -> Iterator[Flag]:
    """Yield the settings of a configuration that is shown as YAML, under their whole names."""
    above: list[tuple[int, str]] = []
    for match in filter(None, map(_YAML_KEY.match, text.splitlines())):
        indent, value = len(match["indent"]), match["value"]
        above = [(depth, key) for depth, key in above if depth < indent]
        if value is None:
            above.append((indent, match["key"]))
        else:
            name = ".".join((*(key for _, key in above), match["key"]))
            yield Flag(name=name, names=(name,), default=value.strip("'\""))


_PURPOSES = {
    "batch_size": "needed: nothing can be compared without it",
    "learning_rate": "needed to tune the rate of each batch size",
    "seed": "needed to tell a better batch size from luck",
    "epochs": "or {steps}: how long it trains; without it each run has its own length",
    "steps": "or {epochs}: how long it trains, in updates",
    "output_dir": "so that runs side by side don't write into one folder",
    "resume_from": "so that a longer run need not start again",
}
_DRAFT = """\
# How batchlab runs your training. Check every line, above all the metric.

# The program and its arguments, one by one: there is no shell between them. batchlab puts a value
# in the place of each {{name}}.
command = [
{command}
]

# What your script prints, by the name that it prints, and which values are better.
metric = "val_loss"
better = "lower"  # or "higher"

# What you train with now; the answer is compared with it.
{now}
# examples = 50000  # training examples in an epoch: needed where only steps are printed
# pattern = 'step (?P<step>\\d+) val_loss (?P<val_loss>\\S+)'  # where lines are not recognized
# budget = "30m"
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A draft of `batchlab.toml`."""

    text: str
    flags: dict[str, Flag]  # for each placeholder, the flag that takes its value
    missing: tuple[str, ...]  # the placeholders that a study needs and that no flag takes
    trouble: str | None  # why the text read may not be a help text, in one line, or None


def drafted(command: Sequence[str], help_text: str, trouble: str | None) -> Draft:
    """Return a draft for a command as it is typed now, by the flags that its help shows."""
    flags = flags_in(help_text)
    if not flags and trouble is None:
        trouble = (
            "what it printed for --help shows no flags that batchlab knows; it may have trained"
        )
    arguments, typed = _without(command, flags)
    if "epochs" in flags:  # epochs can be equal for every batch size, unlike steps
        flags.pop("steps", None)
    needed = dict.fromkeys(name for name in NAMES if name not in flags)
    if flags.keys() & {"epochs", "steps"}:  # either epochs or steps is enough
        needed.pop("epochs", None)
        needed.pop("steps", None)
    lines = []
    for row in (arguments, *(flag.arguments(name) for name, flag in flags.items())):
        if row:  # JSON writes texts as TOML does
            lines.append(f"    {json.dumps(row, ensure_ascii=False)[1:-1]},")
    if needed:
        lines.append(
            "    # No flag was found for these. Where your script has one, add it as above:"
        )
        lines += [f'    # "--...={{{name}}}",  # {_PURPOSES[name]}' for name in needed]
    now = []
    for name, example in (("batch_size", "64"), ("learning_rate", "0.001"), ("epochs", "10")):
        default = flags[name].default if name in flags else None
        value = number_of(typed.get(name, default) or "")
        line = f"# {name} = {example}"
        if value is not None and value > 0:
            if name == "learning_rate":
                line = f"{name} = {value!r}"
            elif value == int(value):
                line = f"{name} = {int(value)}"
        now.append(line)
    text = _DRAFT.format(command="\n".join(lines), now="\n".join(now))
    return Draft(text=text, flags=flags, missing=tuple(needed), trouble=trouble)


def _without(command: Sequence[str], flags: dict[str, Flag]) -> tuple[list[str], dict[str, str]]:
    """Return the command without the values that will change, and these values by placeholder."""
    by_name = {plain_flag(name): at for at, flag in flags.items() for name in flag.names}
    arguments: list[str] = []
    typed: dict[str, str] = {}
    rest = list(command)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        placeholder = by_name.get(plain_flag(name))
        is_typed = name.startswith("-") or bool(equals)
        if placeholder is None or not is_typed:
            arguments.append(argument)
        elif equals:
            typed[placeholder] = value
        elif rest:
            typed[placeholder] = rest.pop(0)
    return arguments, typed
