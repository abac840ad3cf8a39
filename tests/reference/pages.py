"""Made-up pages: every kind of advice and of sweep, to be opened in a browser."""

from collections.abc import Callable
from pathlib import Path

from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import KINDS, advice_study
from tests.reference.made_up_plans import plan_study
from tests.reference.made_up_profile import made_up_profile

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.records.trial import Status
from batchlab.report.advice_page import render_advice_html
from batchlab.report.sweep_page import html_page

FOUR_SIZES = (64, 256, 1024, 4096)
BAD_ENDS = {
    (64, 0.1, 1): (Status.DIVERGED, "the loss grew a thousandfold", 3),
    (256, 0.01, 0): (Status.OOM, "needed 9 GB of 8", 2),
}
SWEEPS: dict[str, Callable[[], Study]] = {
    "sweep-five-seeds": lambda: made_up_study(batch_sizes=FOUR_SIZES, seeds=5, epochs=8),
    "sweep-rates": lambda: made_up_study(
        batch_sizes=FOUR_SIZES, learning_rates=(0.01, 0.1), seeds=2, epochs=8, endings=BAD_ENDS
    ),
    "sweep-one-seed": lambda: made_up_study(batch_sizes=(64,), seeds=1, epochs=6, n_test=0),
    "sweep-untrained": lambda: made_up_study(batch_sizes=(64,), epochs=0),
    "sweep-two-rates": lambda: made_up_study(learning_rates=(0.01, 0.1), seeds=2),
    "sweep-plans": plan_study,
}
PAGES = (*(f"advice-{kind}" for kind in KINDS), *SWEEPS)


def write_page(name: str, path: Path) -> None:
    """Write the page called `name`, one of `PAGES`."""
    if name in SWEEPS:
        page = html_page(SWEEPS[name]())
    else:
        advice: Advice = KINDS[name.removeprefix("advice-")]()
        page = render_advice_html(advice, advice_study(advice), made_up_profile())
    path.write_text(page, encoding="utf-8")
