"""ScriptHelp: which flags of a script take the batch size, the rate and the like, by its help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# By placeholder, what scripts call it; the first name that is there is taken.
NAMES: dict[str, tuple[str, ...]] = {
    "batch_size": (
        *("batch_size", "train_batch_size", "per_device_train_batch_size", "batchsize", "bs"),
        *("train_bs", "mini_batch_size", "minibatch_size", "batch"),
    ),
    "learning_rate": ("learning_rate", "lr", "base_lr", "init_lr", "max_lr", "step_size"),
    "seed": ("seed", "random_seed", "manual_seed", "seed_everything", "rng_seed", "random_state"),
    "epochs": ("epochs", "num_epochs", "n_epochs", "max_epochs", "num_train_epochs", "nepochs"),
    "steps": (
        *("max_steps", "steps", "num_steps", "n_steps", "total_steps", "max_train_steps"),
        *("num_train_steps", "train_steps", "max_iters", "iterations", "num_iterations"),
    ),
    "output_dir": (
        *("output_dir", "out_dir", "outdir", "output_folder", "output", "save_dir"),
        *("work_dir", "workdir", "log_dir", "logdir", "default_root_dir", "checkpoint_dir", "out"),
    ),
    "resume_from": (
        *("resume_from_checkpoint", "resume_from", "resume", "resume_path", "ckpt_path"),
        *("load_checkpoint", "restore_from", "init_from", "checkpoint"),
    ),
}
_LONGEST = 200_000
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
_DEFAULT = re.compile(r"default(?:s to|:|=| is)?\s*['\"]?(?P<value>[^\s'\")\],;]+)", re.IGNORECASE)
_HYDRA = re.compile(r"^.*Override anything in the config.*$", re.MULTILINE)
_YAML_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z_][\w\-]*):\s*(?P<value>\S.*)?$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """A way to give a script one value.

    Attributes:
        name: as it is typed: `--lr`, or `train.lr` where a setting is overridden.
        default: as the help shows it; None: it does not.
        is_override: it is typed as name=value, without dashes.
    """

    name: str
    default: str | None = None
    is_override: bool = False

    def arguments(self, placeholder: str) -> tuple[str, ...]:
        """The arguments that give it the value of a placeholder."""
        if self.is_override or self.name.startswith("--"):
            return (f"{self.name}={{{placeholder}}}",)
        return (self.name, f"{{{placeholder}}}")


def flags_in(help_text: str) -> dict[str, Flag]:
    """The flags by the placeholder that belongs to them, as far as the help shows them.

    Args:
        help_text: what the script prints for `--help`: by argparse, click, absl, Fire, Hydra or
            the like.
    """
    text = help_text[:_LONGEST]
    hydra = _HYDRA.search(text)
    found = _overrides(text[hydra.end() :]) if hydra else _declared(text)
    known: dict[str, Flag] = {}
    for placeholder, names in NAMES.items():
        flag = next((found[name] for name in names if name in found), None)
        if flag is not None:
            known[placeholder] = flag
    return known


def flag_named(help_text: str, typed: str) -> Flag | None:
    """The flag that is typed like this, under any of its names; None: the help does not show it.

    Args:
        help_text: what the script prints for `--help`.
        typed: such as `-b`, `--batch-size` or `train.lr`.
    """
    text = help_text[:_LONGEST]
    if typed.startswith("-"):
        return next((flag for names, flag in _declarations(text) if typed in names), None)
    hydra = _HYDRA.search(text)
    found = _overrides(text[hydra.end() :]).values() if hydra else ()
    return next((flag for flag in found if flag.name == typed), None)


def plain_flag(name: str) -> str:
    """A flag in the spelling in which flags are compared: `--trainer.max-epochs` is max_epochs."""
    return name.lstrip("-").replace("-", "_").lower().rpartition(".")[2]


def _declared(text: str) -> dict[str, Flag]:
    found: dict[str, Flag] = {}
    for names, flag in _declarations(text):
        for name in names:
            found.setdefault(plain_flag(name), flag)
    return found


def _declarations(text: str) -> Iterator[tuple[list[str], Flag]]:
    """All the names of each flag, and the flag."""
    lines = [_BOXES.sub(" ", line) for line in text.splitlines()]
    for number, line in enumerate(lines):
        match = _DECLARED.match(line)
        if match is None or not _takes_value(match["flags"], match["rest"]):
            continue
        names = re.findall(rf"(?<![\w\-]){_FLAG}", match["flags"])
        longest = max(names, key=lambda name: (name.startswith("--"), len(name)))
        default = _DEFAULT.search(" ".join([match["rest"], *_more(lines[number + 1 :])]))
        yield names, Flag(name=longest, default=default["value"] if default else None)


def _takes_value(flags: str, rest: str) -> bool:
    """Whether it is no switch: a name for its value stands behind it, or absl's colon."""
    has_name = re.search(rf"{_FLAG}[ =][A-Z<\[{{]", flags) is not None
    return has_name or rest.startswith(":") or _VALUE_KIND.match(rest) is not None


def _more(lines: list[str]) -> list[str]:
    """The lines of help that follow a flag, until the next one."""
    more: list[str] = []
    for line in lines[:4]:
        if not line.strip() or line.lstrip().startswith("-"):
            break
        more.append(line)
    return more


def _overrides(text: str) -> dict[str, Flag]:
    """The settings of a configuration that is shown as YAML, by their last name."""
    found: dict[str, Flag] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = _YAML_KEY.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        above = [(depth, key) for depth, key in above if depth < indent]
        value = match["value"]
        name = ".".join([*(key for _, key in above), match["key"]])
        if value is None:
            above.append((indent, match["key"]))
        else:
            flag = Flag(name=name, default=value.strip("'\""), is_override=True)
            found.setdefault(plain_flag(name), flag)
    return found
