"""What 143 published end losses of branched trainings say about batch size, and what they do not.

    python -m benchmarks.branched_endpoints

From a checkpoint, branches train on with k times the batch size for one window of examples, and
their end losses are compared (Merrill et al. 2025). The numbers are those of a public rerun
(benchmarks/published/branched2025.csv); their standard errors are over three seeds. Prints the
tables of docs/branched-training.md and writes docs/figures/branched-endpoints.svg.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import altair as alt
import numpy as np
import vl_convert
from benchmarks.regret.table_parts import head, row

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "benchmarks" / "published" / "branched2025.csv"
FIGURE = ROOT / "docs" / "figures" / "branched-endpoints.svg"
TOLERANCES = (0.01, 0.05, 0.2, 0.5)
WINDOW_TOKENS = 100.7e6
_DRAWS = 10_000
_SEED = 0
_NORMAL_95 = 1.959964
_MILLION = 1e6
_COLOURS = ("#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b")


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where the branches of one checkpoint and multiple ended, over three seeds.

    Attributes:
        optimizer: "adamw" or "muon".
        checkpoint_tokens: how far the base run was.
        multiple: of the base batch size.
        loss: mean held-out loss at the end of the window.
        sem: its standard error.
    """

    optimizer: str
    checkpoint_tokens: float
    multiple: float
    loss: float
    sem: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.2g} ({self.low:.2g} to {self.high:.2g})"


def endpoints(path: Path = PUBLISHED, *, split: str = "val") -> list[Endpoint]:
    """The published end losses on train or held-out data, in the order of the file."""
    lines = (text for text in path.read_text().splitlines() if not text.startswith("#"))
    return [
        Endpoint(
            optimizer=line["optimizer"],
            checkpoint_tokens=float(line["checkpoint_tokens"].removesuffix("M")) * _MILLION,
            multiple=float(line["k"]),
            loss=float(line["loss"]),
            sem=float(line["sem"]),
        )
        for line in csv.DictReader(lines)
        if line["split"] == split
    ]


def largest_within(losses: Mapping[float, float], tolerance: float) -> float:
    """The largest multiple that ends at most `tolerance` above each smaller one.

    Args:
        losses: end losses by multiple of the base batch size, not empty.
        tolerance: of the loss, >= 0.

    Source: Merrill et al. 2025, the rule for the critical batch size of a checkpoint.
    """
    least, largest = math.inf, math.nan
    for multiple, loss in sorted(losses.items()):
        if loss <= least + tolerance:
            largest = multiple
        least = min(least, loss)
    return largest


def largest_within_draws(branches: Sequence[Endpoint], tolerance: float) -> Interval:
    """The same with its 95 % range over draws of the end losses, each by its standard error.

    As if the ends of two branches were independent: whether branches share seeds is not published.
    """
    rng = np.random.default_rng(_SEED)
    multiples = [branch.multiple for branch in branches]
    drawn = rng.normal(
        [branch.loss for branch in branches],
        [branch.sem for branch in branches],
        (_DRAWS, len(branches)),
    )
    found = [largest_within(dict(zip(multiples, each, strict=True)), tolerance) for each in drawn]
    low, high = np.quantile(found, (0.025, 0.975), method="inverted_cdf")
    as_published = {branch.multiple: branch.loss for branch in branches}
    return Interval(
        estimate=largest_within(as_published, tolerance), low=float(low), high=float(high)
    )


def difference(one: Endpoint, other: Endpoint) -> Interval:
    """How much higher the loss of `one` ends, its ends and the other's independent."""
    value, half = one.loss - other.loss, _NORMAL_95 * math.hypot(one.sem, other.sem)
    return Interval(estimate=value, low=value - half, high=value + half)


def loss_per_window(base: Sequence[Endpoint]) -> dict[float, float]:
    """How much the base batch size gains in one window, by checkpoint.

    From its end losses at the next checkpoint, or at the last two: the mean over up to ten windows,
    for the curve of the window itself is not published.

    Args:
        base: the ends of the branches with multiple 1, by checkpoint, two or more.
    """
    gains = {
        before.checkpoint_tokens: (before.loss - after.loss)
        * WINDOW_TOKENS
        / (after.checkpoint_tokens - before.checkpoint_tokens)
        for before, after in pairwise(base)
    }
    last, *_ = reversed(gains.values())
    return gains | {base[-1].checkpoint_tokens: last}


def examples_needed(branch: Endpoint, base: Endpoint, *, window_gain: float) -> Interval | None:
    """About how many times the base's examples a branch needs to the base's end loss.

    1 + (its loss - the base's) / what the base gains in a window. None: the base gains nothing.
    """
    if window_gain <= 0:
        return None
    apart = difference(branch, base)
    return Interval(
        estimate=1 + apart.estimate / window_gain,
        low=1 + apart.low / window_gain,
        high=1 + apart.high / window_gain,
    )


def by_checkpoint(points: Iterable[Endpoint], optimizer: str) -> dict[float, list[Endpoint]]:
    """The branches of each checkpoint of an optimizer's runs, by multiple."""
    found: dict[float, list[Endpoint]] = {}
    for point in sorted(points, key=lambda point: (point.checkpoint_tokens, point.multiple)):
        if point.optimizer == optimizer:
            found.setdefault(point.checkpoint_tokens, []).append(point)
    return found


def base_of(branches: Sequence[Endpoint]) -> Endpoint | None:
    """The branch that goes on with the base batch size, None where it is not published."""
    return next((branch for branch in branches if branch.multiple == 1), None)


# ---- tables


def tolerance_table(points: Sequence[Endpoint]) -> str:
    """The largest multiple within each tolerance."""
    lines = head("optimizer", "checkpoint", *(f"within {each:g}" for each in TOLERANCES))
    for optimizer in ("adamw", "muon"):
        for tokens, branches in by_checkpoint(points, optimizer).items():
            found = [largest_within_draws(branches, tolerance) for tolerance in TOLERANCES]
            cells = [f"{each.estimate:g} ({each.low:g} to {each.high:g})" for each in found]
            lines.append(row(optimizer, _tokens(tokens), *cells))
    return "\n".join(lines)


def base_table(points: Sequence[Endpoint]) -> str:
    """What the base gains in a window, and what a tolerance of 0.01 is worth in windows."""
    lines = head("optimizer", "checkpoint", "base ends at", "gain a window", "0.01 is worth")
    for optimizer in ("adamw", "muon"):
        base = _bases(points, optimizer)
        gains = loss_per_window(base)
        for each in base:
            gain = gains[each.checkpoint_tokens]
            worth = f"{0.01 / gain:.2g} windows" if gain > 0 else "cannot be told: it ends worse"
            ends = f"{each.loss:.4f} ± {each.sem:.4f}"
            lines.append(
                row(optimizer, _tokens(each.checkpoint_tokens), ends, f"{gain:.4f}", worth)
            )
    return "\n".join(lines)


def examples_table(points: Sequence[Endpoint], multiples: Sequence[float] = (2, 8, 32, 64)) -> str:
    """How many times the base's examples larger branches need, as far as that can be told."""
    titles = [f"{multiple:g} times the batch" for multiple in multiples]
    lines = head("optimizer", "checkpoint", *titles)
    for optimizer in ("adamw", "muon"):
        gains = loss_per_window(_bases(points, optimizer))
        for tokens, branches in by_checkpoint(points, optimizer).items():
            base = base_of(branches)
            if base is None:
                continue
            at = {branch.multiple: branch for branch in branches}
            cells = []
            for multiple in multiples:
                branch = at.get(multiple)
                needed = branch and examples_needed(branch, base, window_gain=gains[tokens])
                cells.append("–" if needed is None else str(needed))
            lines.append(row(optimizer, _tokens(tokens), *cells))
    return "\n".join(lines)


def better_than_base_table(points: Sequence[Endpoint]) -> str:
    """The branch that ends best, beside the base and half of it."""
    lines = head("optimizer", "checkpoint", "ends best", "above the base's loss", "half: above")
    for optimizer in ("adamw", "muon"):
        for tokens, branches in by_checkpoint(points, optimizer).items():
            base = base_of(branches)
            if base is None:
                continue
            best = min(branches, key=lambda branch: branch.loss)
            halves = [branch for branch in branches if branch.multiple == 0.5]
            half = _signed(difference(halves[0], base)) if halves else "–"
            above = _signed(difference(best, base))
            lines.append(row(optimizer, _tokens(tokens), f"{best.multiple:g}", above, half))
    return "\n".join(lines)


def _bases(points: Sequence[Endpoint], optimizer: str) -> list[Endpoint]:
    found = (base_of(branches) for branches in by_checkpoint(points, optimizer).values())
    return [base for base in found if base is not None]


def _signed(interval: Interval) -> str:
    return f"{interval.estimate:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


def _tokens(tokens: float) -> str:
    return f"{tokens / _MILLION:,.0f} M"


# ---- the figure


def figure(points: Sequence[Endpoint]) -> alt.Chart:
    """How far above the base each branch ends, by its multiple; darker lines are later."""
    rows = []
    for optimizer, name in (("adamw", "AdamW"), ("muon", "Muon")):
        for tokens, branches in by_checkpoint(points, optimizer).items():
            base = base_of(branches)
            if base is None:
                continue
            rows += [
                {
                    "optimizer": name,
                    "checkpoint": _tokens(tokens),
                    "multiple": branch.multiple,
                    "above": branch.loss - base.loss,
                }
                for branch in branches
                if branch.multiple <= 64
            ]
    order = list(dict.fromkeys(each["checkpoint"] for each in rows))
    order.sort(key=lambda text: float(text.split()[0].replace(",", "")))
    lines = alt.Chart().mark_line(point=alt.OverlayMarkDef(size=28), clip=True)
    zero = alt.Chart().mark_rule(strokeDash=[4, 3], color="#888").encode(y=alt.datum(0))
    encoded = lines.encode(
        x=alt.X(
            "multiple:Q",
            scale=alt.Scale(type="log", base=2),
            title="batch size, in times the base's",
        ),
        y=alt.Y(
            "above:Q",
            scale=alt.Scale(domain=[-0.17, 0.2]),
            title="held-out loss above the base's",
        ),
        color=alt.Color(
            "checkpoint:N",
            sort=order,
            scale=alt.Scale(domain=order, range=list(_COLOURS[-len(order) :])),
            title="checkpoint, tokens",
        ),
    )
    both = alt.layer(zero, encoded, data=alt.Data(values=rows)).properties(width=310, height=260)
    chart: alt.Chart = both.facet(column=alt.Column("optimizer:N", title=None))
    return chart


def main() -> None:
    """Print the tables, draw the figure."""
    points = endpoints()
    print(f"{len(points)} end losses on held-out data\n")
    for table in (tolerance_table, base_table, better_than_base_table, examples_table):
        print(table(points), end="\n\n")
    FIGURE.write_text(vl_convert.vegalite_to_svg(figure(points).to_dict()))
    print(f"figure: {FIGURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
