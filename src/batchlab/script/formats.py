"""The formats of progress lines, one class each; the first that recognizes a line reads it."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import methodcaller
from typing import Any

from batchlab.errors import UsageError
from batchlab.script.bars import Bars, ProgressBar, bar_of
from batchlab.script.reading import (
    COUNTERS,
    NUMBER,
    SPLIT_WORD,
    Counters,
    LineReader,
    NamedValues,
    Reading,
    count_of,
    epoch_of,
    number_of,
    rank_of,
    split_of,
    spoken_kind,
    values_of,
)

LOG_SHAPE = "batchlab"
"""The `Reading.shape` of lines from `batchlab.log`."""


class Logged(LineReader):
    """The lines of `batchlab.log`, in which every number has a name."""

    shape = LOG_SHAPE
    needles = (b'{"batchlab_log"',)

    def __init__(self) -> None:
        self._counters = Counters()

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        """Return the reading of one `batchlab.log` call, or None for any other line."""
        if not line.startswith('{"batchlab_log"'):
            return None
        try:
            return [self._reading(json.loads(line))]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return []  # A full disk truncated this line, so skip it; later lines may be whole.

    def _reading(self, call: dict[str, Any]) -> Reading:
        step, samples, epoch = call.get("step"), call.get("samples"), call.get("epoch")
        counted = step if samples is None else samples
        if epoch is not None and counted is not None and float(epoch).is_integer():
            # Many scripts log the number of the current epoch, not of the passes done. So the
            # position follows from the steps or samples. The epoch is used only if steps or samples
            # rise by an equal amount from line to line, as they do at the ends of epochs.
            epoch = self._counters.passes_at_end(counted, int(epoch) - 1)
        return Reading(
            at_s=float(call["at_s"]),
            shape=self.shape,
            step=step,
            epoch=epoch,
            samples=samples,
            values=tuple((name, float(value)) for name, value in call["values"].items()),
            not_understood=tuple(call.get("not_understood", ())),
        )


def _dict_in(line: str) -> dict[str, Any] | None:
    """Return the JSON or Python dict at the end of a line, after any logger prefix, or None."""
    start = line.find("{")
    if start < 0 or not line.endswith("}"):
        return None
    text = line[start:]
    try:
        if not text.startswith("{'"):
            content = json.loads(text)
        else:
            # Python prints nan and inf without quotes, which `literal_eval` refuses: add quotes.
            text = text.replace(": nan", ": 'nan'").replace(": inf", ": 'inf'")
            with warnings.catch_warnings():  # ignore warnings about text such as {'a': 1in}
                warnings.simplefilter("ignore", SyntaxWarning)
                content = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


class NamedNumbers(LineReader):
    """Base class of formats in which the name of each number says whether it is a counter."""

    def __init__(self) -> None:
        self._counters = Counters()

    def _kind(self, name: str) -> str | None:
        """Return what `name` counts ("step", "epoch" or "samples"), or None if it is no counter."""
        column = name.lower().rpartition("/")[2]
        # spaCy's tables name the column of epochs "E" and the column of steps "#".
        return {"e": "epoch", "#": "step"}.get(column) or spoken_kind(column)

    def _as_printed(self, printed: Mapping[str, str], at_s: float, *, before: str = "") -> Reading:
        """Return the reading of numbers with names; the text `before` may name the data split.

        If a line has several step counters, use the largest count of those with the highest rank.
        The same applies to sample counters.
        """
        # A (rank, count) pair for each step counter and each sample counter of the line. Counters
        # such as "global_step" have the highest rank: see `rank_of`.
        counted: dict[str, list[tuple[int, int]]] = {"step": [], "samples": []}
        epochs, measured = [], []
        for name, text in printed.items():
            kind, number = self._kind(name), text.partition("/")[0]
            if kind is None:
                measured.append((name, text.strip("%"), None))
            elif kind == "epoch":
                epochs.append(epoch_of(number))
            elif (count := count_of(number)) is not None:
                counted[kind].append((rank_of(name), count))
        values, unsure = values_of(measured)
        return Reading(
            at_s=at_s,
            shape=self.shape,
            step=max(counted["step"], default=(0, None))[1],
            epoch=next(iter(epochs), None),
            samples=max(counted["samples"], default=(0, None))[1],
            values=values,
            unsure=unsure,
            split=split_of(" ".join((before, *printed.values()))),
        )


class JsonLines(NamedNumbers):
    """One JSON object or Python dict per line, with a counter and numbers.

    A dict of a Hugging Face Trainer has no step, so its reading waits until the training bar shows
    the step. The training bar is the first bar without a description that is not full.
    """

    shape = "json-lines"
    needles = (b'{"', b"{ ", b"{\t", b"{'", b"%|")

    # Only a Hugging Face Trainer prints dicts with one of these names. The `epoch` in its dicts is
    # the number of passes over the data, not the number of the current epoch.
    _RUNTIMES = frozenset(("eval_runtime", "train_runtime", "test_runtime", "predict_runtime"))

    def __init__(self) -> None:
        super().__init__()
        # The last count of each progress bar without a description, by the total of the bar.
        self._bars: dict[int, int] = {}
        self._total: int | None = None  # The total of the progress bar that counts training steps.
        self._waiting: list[Reading] = []

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        """Return the readings that a line completes, or None if the line is of another format.

        A dict without a step waits for the next line of the progress bar, which shows the step.
        """
        bar = bar_of(line)
        if bar is not None and not bar.words:
            return self._at(bar, at_s)
        content = _dict_in(line)
        if content is None:
            return None
        printed = dict(_texts_in(content))
        logged_at, _, _ = line.partition("{")
        reading = self._as_printed(printed, at_s, before=logged_at)
        if not reading.has_position or (logged_at and not reading.values):
            return None
        if not reading.values:
            return []
        is_of_trainer = not self._RUNTIMES.isdisjoint(printed)
        if is_of_trainer and reading.epoch is not None:
            reading = replace(reading, epoch=float(reading.epoch))
        placed = self._counters.placed(reading)
        before = self.finish()
        has_only_epoch = reading.step is None and reading.samples is None
        is_of_trainer = is_of_trainer or self._counters.has_fractions
        if not (is_of_trainer and has_only_epoch and self._bars):
            return [*before, placed]
        if self._total is None:
            # At the first dict, choose the bar that counts training steps: the first bar that is
            # not full yet, or the last bar if all are full.
            self._total = next(reversed(self._bars))
            for total, n in self._bars.items():
                if n < total:
                    self._total = total
                    break
        self._waiting = [placed]
        return before

    def finish(self) -> list[Reading]:
        """Return the last dict, if no line after it showed its step; [] if there is none."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def _kind(self, name: str) -> str | None:
        return COUNTERS.get(name)

    def _at(self, bar: ProgressBar, at_s: float) -> list[Reading] | None:
        self._bars[bar.total] = bar.n
        if self._total is None:
            return None  # The first dict of metrics has not shown yet which bar counts steps.
        if bar.total != self._total:
            return []
        waiting = self.finish() or [Reading(at_s=at_s, shape=self.shape)]
        return [replace(reading, step=bar.n) for reading in waiting]


_DEEPEST = 4  # read dicts inside dicts down to this depth


def _texts_in(entry: dict[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield each name with its number or text; join nested names, as in `validation.loss`."""
    for name, value in entry.items():
        if isinstance(value, dict) and depth < _DEEPEST:
            yield from _texts_in(value, f"{before}{name}.", depth + 1)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            yield before + name, str(value)


class Table(NamedNumbers):
    """Rows of numbers below a header that names the columns, one of which is a counter.

    A later header without a counter may begin a table with one row per class. Only the row `all` of
    such a table is read.
    """

    shape = "table"
    needles = (b"epoch", b"step", b"iter", b"loss", b"map")

    _LIKELY = re.compile(b"|".join(needles).decode(), re.IGNORECASE)
    _COLUMNS = re.compile(r"\s*[\t,;|│┃║]\s*|\s+")
    _WIDE = re.compile(r"\s*[\t,;|│┃║]\s*|\s{2,}")  # Separates column names with spaces.
    _NAME = re.compile(r"(?:[A-Za-z_#][^=:{}]{0,60})?$")
    _UNNAMED = ("+", "*", "cp")  # Signs that skorch adds to epochs whose weights it stored.
    # A progress bar may be drawn to the right of a row.
    _BAR = re.compile(r":?\s+\d{1,3}%\s?[|━─╸ ].{0,200}?\s(\d+)/(\d+)(?!\d).*$")

    def __init__(self) -> None:
        super().__init__()
        # The names of columns, by the number of columns and by whether one of them is a counter.
        self._headers: dict[tuple[int, bool], list[str]] = {}
        self._n_headers = 0

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        """Return the reading of a row below a header, or None for any other line."""
        text = line[:_LONGEST_LINE]
        bar = self._BAR.search(text)
        if bar:
            text = text[: bar.start()]
        text = text.strip(" |│┃║")
        is_header = self._begins(text)
        if is_header and bar:
            return []
        if is_header or not self.is_open:
            return None
        cells = self._cells(self._COLUMNS, text)
        if "".join(cells[:1]).isdigit() and (len(cells), True) not in self._headers:
            cells.pop(0)  # Drop the row number, which pandas prints first.
        is_of_all = cells[:1] == ["all"]
        names = self._headers.get((len(cells), not is_of_all))
        numbers = [number_of(cell.strip("%")) for cell in cells if cell]
        # Ignore a line that consists mostly of words: it is a sentence, not a row.
        if names is None or 2 * numbers.count(None) >= len(numbers):
            return None
        if bar and int(bar[1]) < int(bar[2]):
            return []
        row = self._as_printed(dict(zip(names, cells, strict=True)), at_s)
        if row.has_position:
            return [self._counters.placed(row, n_epochs=self._n_headers)]
        return [row] if is_of_all else None

    def _cells(self, between: re.Pattern[str], text: str) -> list[str]:
        cells = [cell.strip("\"'()") for cell in between.split(text)]
        return [cell for cell in cells if cell not in self._UNNAMED]

    def _begins(self, text: str) -> bool:
        """Return whether a text is the header of a table, and if so store the column names."""
        if not self._LIKELY.search(text):
            return False
        is_header = False
        for names in self._cells(self._COLUMNS, text), self._cells(self._WIDE, text):
            is_counted = any(map(self._kind, names))
            is_of_names = 1 < len(names) == len({*names}) and all(map(self._NAME.match, names))
            if is_of_names and (is_counted or (self.is_open and len(names) > 3)):
                self._headers[len(names), is_counted] = names
                self._n_headers += is_counted
                self.is_open = is_header = True
        return is_header


_LONGEST_LINE = 2000  # Read only this many characters of a line.
# Only this many characters of a line are searched for words of progress, because the search is slow
# and progress is near the beginning of its line.
_LONGEST_SEARCHED = 500
_WORD = r"(?!(?i:nan|inf(?:inity)?)\b)[A-Za-z_][\w@./\-]*(?:'s\b)?"
# A name and its number, as in "val loss: 0.4", "Epoch [3/10]", "Accuracy: 9000/10000" or "acc 0.9".
_PAIR = re.compile(
    rf"(?<![\w@./\-])(?P<name>(?>{_WORD}(?: {_WORD}){{0,3}}))"
    r"(?P<sign>\s*[:=]\s*|\s+|(?=\[))\[?\s*"
    rf"(?P<number>{NUMBER})"
    rf"(?:\s*(?:/|of)\s*(?P<total>{NUMBER}))?"
    r"(?![A-Za-z_\d]|[:/,.]\d| (?:m?s|secs?|seconds|min(?:ute)?s?|h|hours)\b)"
    r"(?:\]?\s*[\[(]\s*(?P<part>\d+)\s*/\s*(?P<whole>\d+))?"
)
# Lines in other notations are rewritten so that `_PAIR` recognizes them. Each row contains a text
# that lines of this notation contain (a fast test), the pattern to replace, and its replacement.
_FORMS = (
    ("tensor(", re.compile(rf"tensor\(({NUMBER})[^)]{{0,80}}\)"), r"\1"),
    ("{", re.compile(r"[{}\"']"), " "),  # Drop the braces and quotes of a dict.
    # Remove the source position that a logger prints: "solver.cpp:228]" or "(main.py 180)".
    (".", re.compile(r"\b[\w/\-]{1,60}\.(?:py|cpp|cc)[: ]\d+"), ""),
    ("/", re.compile(r"/(?=(?:micro|global)_step=)"), " "),  # DeepSpeed puts "/" before a counter.
    # CleanRL's "global_step" and pix2pix's "iters" count examples.
    ("episodic", re.compile(r"\bglobal_step=(?=\d+, episodic)"), "samples="),
    ("iters: ", re.compile(r"^\((epoch: \d+), iters: (?=\d+, time: )"), r"\1 samples: "),
    ("--> STEP", re.compile(r"--> STEP: \d+$"), ""),  # Drop a step of Coqui TTS's evaluation.
    ("total_iters", re.compile(r"\(epoch \d+, total_iters \d+\)"), ""),
    # XGBoost and LightGBM print tree 3 as "[3]". Flax prints step 3 as "[3]", CatBoost as "3:".
    ("[", re.compile(r"(^|\] )\[(\d+)\](?:\t| (?=\w+=))"), r"\1step \2 "),
    (":", re.compile(r"^(\d+):\s+(?=(?:learn|test|loss): )"), r"iteration \1 "),
    # Epoch and step, as in "[1, 2000]", "[3: 42/43]", "[0/5][10/20]" or "Train: [0/300][10/1251]".
    (
        "[",
        re.compile(r"(?:^|(?<=\b[Tt]rain: ))\[(\d+(?:/\d+)?)(?:,\s*|: |\]\[)(\d+(?:/\d+)?)\]"),
        r"epoch \1 step \2 ",
    ),
    ("#", re.compile(r"(?i:\b(epoch|step|iteration|batch)) ?#(?=\d)"), r"\1 "),
    # Marian prints "Ep. 3 : Up. 100 :".
    ("Up. ", re.compile(r"\bEp\. (\S+) : Up\. (\S+) :"), r"epoch \1 step \2 "),
    # mmengine prints "Epoch(train) [1][50/188]" and "Epoch(val) [1][10/20]". Drop the "[10/20]",
    # which counts validation batches.
    ("(train)", re.compile(r"\b(Epoch|Iter)\(train\)\s*"), r"train \1 "),
    ("(", re.compile(r"\bEpoch\((val|test)\)\s*\[(\d+)\]\s*\[\d+/\d+\]"), r"\1: epoch \2 "),
    ("(", re.compile(r"\b(?:Epoch|Iter)\((val|test)\)\s*(?:\[\d+\](?=\s*\[))?"), r"\1: "),
    # ESPnet prints "3epoch", and Catalyst prints "train (3/10)".
    ("epoch", re.compile(r"\b(\d+)epoch\b"), r"epoch \1 "),
    (" (", re.compile(r"^\W*(train|valid) \((\d+/\d+)\)"), r"\1 epoch \2 "),
    # An iteration of scikit-learn's networks is a pass over the data.
    ("Iteration ", re.compile(r"^Iteration (\d+), loss = (?=\d+\.\d{8}$)"), r"epoch \1 loss = "),
    # "Train: 0 [  50/1251 (  4%)]" has the epoch number before the position in that epoch.
    ("Train: ", re.compile(r"^Train: (?=\d+ \[\s*\d+/)"), "epoch: "),
    # A metric in words, such as "Accuracy of the network on the 10000 test images: 54 %".
    (
        " on ",
        re.compile(r"^(\w[\w ]{0,40}?) (?:of|on) [^:=\d]{0,80}\d+ ([A-Za-z ]{1,40}):"),
        r"\2 | \1:",
    ),
    (
        " ",
        re.compile(
            r"([A-Za-z][\w ./\-]{0,40}?)(?: \([^)]{0,40}\))? (?:at|after|for) "
            rf"(step|epoch|iteration|update) (\d+)\s*(?:is|was|[:=])\s*({NUMBER})"
        ),
        r"\2 \3 \1: \4",
    ),
)
# In a loop over validation batches, each line shows the values of one batch, and running averages
# in parentheses. Only the averages at the end of the loop are read.
_EVALUATION = re.compile(
    r"(?i:\b(test|val|valid|validation|eval|cv):?\s*(?:\[|(?:batch|step|iter)\s*\[?))\s*(\d+)/(\d+)\b\]?"
)
_AVERAGE = re.compile(rf"{NUMBER}\s+\(\s*({NUMBER})\s*\)")
_OF_BATCHES = re.compile(r"(?<![\d.])(\d+)\s*/\s*(\d+) (?:batches|steps|iterations)\b")
# Counts without a name, such as "[3/10]" at the start of a line; dates such as "11/26 06:50" do not
# match.
_WITHOUT_NAME = re.compile(
    r"^(\d+)/(\d+)\s(?!\d+:)|(?:[|\[]| -)\s{0,20}(\d+)/(\d+)\s*(?:[|\]]|- )|\s(\d+)/(\d+)$"
)
# A header line, which says on which data (train, val or test) the lines below it were measured.
_SPLIT_HEADER = re.compile(
    r"^\W*(?:(?i:running|starting|begin|start|phase|mode|now|in|on|the)\W+){0,3}"
    rf"{SPLIT_WORD.pattern}"
    r"(?:\W+(?i:set|error|results?|phase|mode|metrics|step|loop|summary|model)){0,3}\W*$"
)
_COUNTERS = ("epoch", "step", "iter", "batch", "update", "sample", "example")
# Each word has at least three letters, because binary data contains any two letters by chance.
_METRICS = (
    *("loss", "acc", "err", "val", "test", "score", "auc", "bleu", "perplexity", "ppl"),
    *("precision", "recall", "mse", "mae", "reward", "return", "iou", "metric", "cost"),
)
# A fast test of whether a number closely follows one of these words. Matches start only at words
# and have bounded repetitions: otherwise, a line of a thousand times "loss" would take seconds.
_LIKELY = re.compile(
    rf"(?:{'|'.join(_COUNTERS)})[\w/]{{0,40}}\W{{0,4}}\d"
    r"|^\[\d+, *\d+\]"
    rf"|(?<![\w@./\-])(?=[\w@./\-]{{0,60}}?(?:{'|'.join(_METRICS)}))[\w@./\-]{{1,80}}"
    r"(?:[ \w]{0,60}[:=]\s{0,20}|\s{1,20})(?:tensor\()?[-+.]?(?:\d|nan|inf)"
)
_FILLERS = re.compile(r"^(?:(?:INFO|DEBUG|WARNING|(?i:the|is|was|of)) )+|(?: (?i:the|is|was|of))+$")
_BEST = re.compile(r"(?i)best|\b(?:max|min|highest|lowest)\b")


class PlainLines(LineReader):
    """Lines such as `epoch 3 step 100 val_loss=0.41`, read by the names next to the numbers."""

    shape = "words"
    needles = tuple(word.encode() for word in (*_COUNTERS, *_METRICS, "train", "dev"))

    def __init__(self) -> None:
        self._counters = Counters()
        # The last (epoch, count, total) of the training loop.
        self._loop: tuple[int | None, int, int] = (None, 0, 0)
        self._other_loop = 0  # The number of batches in the present validation loop; 0 outside.
        self._has_named_total = False  # True if a named step had a total, as in "iter: 50/2000".
        # In lines without an epoch, ignore step counters of a lower rank than this (see `rank_of`),
        # because they may count micro-batches.
        self._least_rank = 0
        self._header = ""  # The data split in the last header line.
        # True from a header line until the first line with a counter below the header.
        self._is_new = False

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        """Return the readings of a line, or None if it has no counter or metric with a name."""
        line = line[:_LONGEST_LINE]
        if _SPLIT_HEADER.match(line):
            self._header, self._is_new = split_of(line), True
            return None
        lower = line.lower()
        has_metric = self.metric != "" and self.metric in lower
        if not has_metric and not _LIKELY.search(lower, 0, _LONGEST_SEARCHED):
            return None
        for text, pattern, form in _FORMS:
            if text in line:
                line = pattern.sub(form, line)
        if evaluation := _EVALUATION.search(line):
            self._header, self._is_new = split_of(evaluation[1]), False
            if int(evaluation[2]) < int(evaluation[3]):
                return []
            line = _AVERAGE.sub(r"\1", line[evaluation.end() :])
        return self._placed(line, list(_PAIR.finditer(line)), at_s)

    def _counted_and_measured(
        self, line: str, pairs: list[re.Match[str]]
    ) -> tuple[dict[str, Any], dict[str, NamedValues]]:
        """Return the counters of a line with their totals, and the line's values by data split."""
        # By kind of counter: the line's first epoch, its largest count of steps, and of samples.
        counted: dict[str, Any] = {}
        measured: dict[str, list[tuple[str, str, str | None]]] = {}
        names = [_name(pair["name"], pair["sign"]) for pair in pairs]
        n_current = _n_before_best(names)
        kinds = list(map(spoken_kind, names[:n_current]))
        ranks = {rank_of(name) for name, kind in zip(names, kinds, strict=False) if kind == "step"}
        if len(ranks) > 1:
            self._least_rank = sorted(ranks)[-2] + 1
        least_rank = self._least_rank
        if len(ranks) == 1 and "epoch" in kinds:
            least_rank = 0  # Accept any step counter if the line has an epoch as well.
        for i, (name, pair) in enumerate(zip(names, pairs, strict=True)):
            kind = spoken_kind(name)
            if kind is None:
                split = split_of(line[: pair.end("name")])
                measured.setdefault(split, []).append((name, pair["number"], pair["total"]))
                continue
            if kind == "epoch":
                number, is_larger = epoch_of(pair["number"]), False
            else:
                number = count_of(pair["number"])
                is_larger = (number or 0) > (counted.get(kind) or 0)
            is_step = kind != "step" or rank_of(name) >= least_rank
            if i < n_current and is_step and (counted.get(kind) is None or is_larger):
                counted[kind], counted[f"{kind} total"] = number, count_of(pair["total"] or "")
        return counted, {split: values_of(printed) for split, printed in measured.items()}

    def _placed(self, line: str, pairs: list[re.Match[str]], at_s: float) -> list[Reading] | None:
        counted, measured = self._counted_and_measured(line, pairs)
        step, epoch = counted.get("step"), counted.get("epoch")
        n_steps, n_epochs = counted.get("step total"), counted.get("epoch total")
        has_values = any(values for values, _ in measured.values())
        if not has_values and (step is None or _BEST.search(line)):
            if epoch is None:
                return None
            if step is None and isinstance(epoch, int):  # This line announces a new epoch.
                self._counters.begin_epoch(epoch, n_epochs)
                self._header = split_of(line)
            return []
        in_loop, has_nameless = _loop_in(line, pairs)
        n, whole = in_loop or (step, n_steps)
        if (epoch, step, whole) != (None, None, None):
            if not self._is_new:
                self._header = ""
            self._is_new = False
        split = self._header
        splits = {of_values or split for of_values in measured}
        if whole and n is not None:
            number = self._counters.number(epoch, n_epochs)
            is_nameless = has_nameless and self._has_named_total
            is_other = is_nameless or self._is_other_loop(number, n, whole)
            if is_other or (in_loop and splits and splits <= {"val", "test"}):
                if n < whole:
                    return []
                step = in_loop = n_steps = None
                split = split or "val"
        printed = Reading(at_s=at_s, shape=self.shape, step=step, epoch=epoch)
        if has_values:  # A line without metrics may print the size of a data set as its samples.
            printed = replace(printed, samples=counted.get("samples"))
        self._has_named_total = self._has_named_total or n_steps is not None
        place = self._counters.placed(printed, n_steps=n_steps, part=in_loop, n_epochs=n_epochs)
        readings = []
        for of_values, (values, unsure) in measured.items():
            of_split = of_values or split
            readings.append(replace(place, values=values, unsure=unsure, split=of_split))
        return readings or [place]

    def _is_other_loop(self, epoch: int | None, n: int, whole: int) -> bool:
        """Return whether a count `n` of total `whole` is of a loop other than the training loop."""
        of_epoch, before, length = self._loop
        if epoch != of_epoch:
            self._other_loop = 0
        elif n < before and (epoch is not None or whole != length):
            self._other_loop = whole
        is_other = epoch == of_epoch and whole == self._other_loop
        if not is_other:
            self._loop = epoch, n, whole
        return is_other


def _loop_in(line: str, pairs: list[re.Match[str]]) -> tuple[tuple[int, int] | None, bool]:
    """Return the (count, total) of the steps within an epoch, or None if the line has none.

    The second result is whether the line has a count without a name, as in "12/120 loss 0.3".
    """
    counts = [*_OF_BATCHES.findall(line), *map(methodcaller("group", "part", "whole"), pairs)]
    nameless = _WITHOUT_NAME.search(line)
    if nameless is not None:
        begin, end = nameless.span()
        if any(pair.end() > begin and pair.start() < end for pair in pairs):
            nameless = None
        else:
            counts.append(tuple(filter(None, nameless.groups())))
    for n, whole in counts:
        if whole and int(whole):
            return (int(n), int(whole)), nameless is not None
    return None, nameless is not None


def _n_before_best(names: Sequence[str]) -> int:
    """Return how many of a line's names come before a best value at the end of the line.

    In "PSNR: 17.0, best PSNR: 17.3 at iter: 200", the best value and its counter are removed, so
    the result is 1. If the line does not end with a best value, no name is removed.
    """
    n_before = len(names)
    for place, name in reversed([*enumerate(names)]):
        if _BEST.search(name):
            n_before = place
        elif spoken_kind(name) is None:
            break
    return n_before


@lru_cache(maxsize=1000)
def _name(name: str, sign: str) -> str:
    """Return a number's name: the words before it, or only the last word if `=` follows them."""
    words = _FILLERS.sub("", " ".join(name.split()))
    last = words.rpartition(" ")[2]
    # The last word of "test val_loss" itself contains the data split, so use only that word.
    says_split = "_" in last and split_of(last.partition("_")[0])
    return last if "=" in sign or says_split else words


class LinePattern(NamedNumbers):
    """Lines that match the user's pattern, in which each named group is a counter or a value."""

    shape = "pattern"
    needles = (b"",)

    _LONGEST = 4000
    _COUNTERS = frozenset(("step", "epoch", "samples"))

    def __init__(self, pattern: str) -> None:
        """Compile the user's pattern.

        Raises:
            UsageError: the pattern is no regular expression, or has no named group for a value.
        """
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise UsageError(
                f"--pattern {pattern!r} is no regular expression: {error}; a working one is "
                rf"'step (?P<step>\d+) val_loss (?P<val_loss>\S+)'"
            ) from None
        if self._COUNTERS.issuperset(self._pattern.groupindex):
            raise UsageError(
                f"--pattern {pattern!r} has no named group for a value; name the metric's, as in "
                rf"'val_loss (?P<val_loss>\S+)'"
            )
        super().__init__()

    def _kind(self, name: str) -> str | None:
        return name if name in self._COUNTERS else None

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        """Return the reading of a line if any group of the pattern matches a number, else None."""
        match = self._pattern.search(line[: self._LONGEST])
        if match is None:
            return None
        # An unmatched group becomes an empty text, which is no number and therefore skipped.
        reading = self._counters.placed(self._as_printed(match.groupdict(""), at_s))
        if not (reading.values or reading.has_position):
            return None
        return [reading]


FORMATS: tuple[type[LineReader], ...] = (Logged, JsonLines, Table, Bars, PlainLines)
"""Every format; a line is read by the first format that recognizes it."""
