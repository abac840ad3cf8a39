"""The report in a real browser: what a reader sees, and that nothing is fetched or goes wrong."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from tests.reference.made_up import made_up_study

from batchlab.records.trial import Status
from batchlab.report import write_html
from batchlab.report.parts.observations_table import observations_table

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="no Chromium with its driver: install the packages chromium and chromium-driver",
    ),
]

STUDY = replace(
    made_up_study(
        batch_sizes=(64, 256, 1024, 4096),
        learning_rates=(0.01, 0.1),
        seeds=3,
        epochs=8,
        evaluations_per_epoch=2,
        endings={(64, 0.1, 1): (Status.DIVERGED, "the loss grew a thousandfold", 3)},
    ),
    command="batchlab sweep made-up --batch-sizes 64,256,1024,full " + "--set a=b " * 12,
)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_S = 20.0
# Whether the page gets a frame within a second.
A_FRAME = """new Promise(resolve => {
    requestAnimationFrame(() => resolve(true));
    setTimeout(() => resolve(false), 1000);
})"""


class Browser:
    """A fresh Chromium with the report open."""

    def __init__(self, report: Path, profile: Path, *, width: int, dark: bool, scripts: bool):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM or ""
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        if not scripts:
            blocked = {"profile.managed_default_content_settings.javascript": 2}
            options.add_experimental_option("prefs", blocked)
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.tell("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.tell("Emulation.setEmulatedMedia", features=[scheme])
        self.address = report.as_uri()
        self.driver.get(self.address)

    def tell(self, command: str, **arguments: Any) -> dict[str, Any]:
        return self.driver.execute_cdp_cmd(command, arguments)

    def ask(self, expression: str) -> Any:
        """The value of an expression; the inspector answers where scripts are blocked, too."""
        answer = self.tell("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not self.ask(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"
            self.be_awake()
            time.sleep(0.05)

    def be_awake(self) -> None:
        """See to it that the page gets frames.

        On a busy machine Chromium (seen with 156) now and then stops making any, and then nothing
        comes into sight. Hidden behind another tab and shown again, the page gets them back.
        """
        deadline = time.monotonic() + WAIT_S
        while not self.tell(
            "Runtime.evaluate", expression=A_FRAME, awaitPromise=True, returnByValue=True
        )["result"]["value"]:
            assert time.monotonic() < deadline, "the browser makes no frames"
            other = self.tell("Target.createTarget", url="about:blank")["targetId"]
            self.tell("Target.activateTarget", targetId=self.driver.current_window_handle)
            self.tell("Target.closeTarget", targetId=other)

    def live(self, panel: str) -> None:
        """Bring a chart into sight and wait until the script has drawn it."""
        self.ask(f"document.getElementById('{panel}').scrollIntoView()")
        self.wait_for(f"Boolean((window.batchlabViews || {{}})['{panel}'])")

    def pointed_at(self, marks: str, matching: str) -> dict[str, str]:
        """What the tooltip shows over the first of `marks` whose `datum` is `matching`."""
        from selenium.webdriver.common.action_chains import ActionChains

        self.be_awake()
        point = self.driver.execute_script(
            f"return [...document.querySelectorAll('{marks}')]"
            f".map(mark => [mark, mark.__data__.datum]).find(([, datum]) => {matching})[0]"
        )
        ActionChains(self.driver).move_to_element(point).perform()
        self.wait_for("Boolean(document.querySelector('#vg-tooltip-element.visible'))")
        cells = self.ask(
            "[...document.querySelectorAll('#vg-tooltip-element td')].map(cell => cell.innerText)"
        )
        assert "undefined" not in cells
        return dict(zip(cells[::2], cells[1::2], strict=True))

    def choose(self, view: str) -> None:
        self.driver.find_element("id", f"view-{view}").click()

    def rows(self, panel: str, data: str) -> list[dict[str, Any]]:
        return self.ask(f"batchlabViews['{panel}'].data('{data}')")

    def assert_quiet(self) -> None:
        """No message on the console, and no request but for the page itself."""
        assert [entry["message"] for entry in self.driver.get_log("browser")] == []
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        requests = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        # The browser's own start page asks for its parts; the report's document asks for itself.
        ours = [r["request"]["url"] for r in requests if r["documentURL"].startswith("file://")]
        assert [address for address in ours if not address.startswith("data:")] == [self.address]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_html(STUDY, path)
    return path


@pytest.fixture
def open_report(report: Path, tmp_path: Path) -> Iterator[Callable[..., Browser]]:
    opened: list[Browser] = []

    def start(*, width: int = 1280, dark: bool = False, scripts: bool = True) -> Browser:
        profile = tmp_path / f"profile-{len(opened)}"
        opened.append(Browser(report, profile, width=width, dark=dark, scripts=scripts))
        return opened[-1]

    yield start
    for browser in opened:
        browser.driver.quit()


def mean_final(batch_size: int, learning_rate: float, split: str) -> float:
    finals = [
        record.final(split, "accuracy")
        for record in STUDY.records
        if (record.trial.batch_size, record.trial.learning_rate) == (batch_size, learning_rate)
        and record.status is Status.OK
    ]
    return sum(finals) / len(finals)


def test_figures_hold_the_numbers_of_the_study_in_all_three_views(open_report):
    browser = open_report()

    for view, key, field in (
        ("epochs", "a", "epoch"),
        ("steps", "b", "step"),
        ("time", "c", "equal_time_s"),
    ):
        browser.choose(view)
        panel = f"{key}-test-0"
        browser.live(panel)
        rows = browser.rows(panel, "curves")
        for batch_size, label in ((64, "64"), (1024, "1024"), (4096, "4096 (full)")):
            line = [
                row
                for row in rows
                if (row["batch"], row["split"], row["metric"]) == (label, "test", "accuracy")
                and row["run"] == "mean"
            ]
            steps = 8 * -(-4096 // batch_size)
            expected = {
                "epoch": 8,
                "step": steps,
                "equal_time_s": steps * STUDY.timing(batch_size).step_s,
            }
            assert line[-1][field] == pytest.approx(expected[field])
            assert line[-1]["mean"] == pytest.approx(mean_final(batch_size, 0.01, "test"), rel=1e-6)
    browser.assert_quiet()


def test_the_switch_shows_one_view_at_a_time_by_pointer_and_by_keyboard(open_report):
    from selenium.webdriver.common.keys import Keys

    browser = open_report()
    shown = (
        "[...document.querySelectorAll('.view')].filter(v => v.offsetHeight > 0)"
        ".map(v => v.dataset.view).join()"
    )

    assert browser.ask(shown) == "epochs"
    browser.choose("time")
    assert browser.ask(shown) == "time"
    browser.driver.find_element("id", "view-time").send_keys(Keys.ARROW_LEFT)
    assert browser.ask(shown) == "steps"
    browser.live("b-train-0")
    browser.assert_quiet()


def test_the_pointer_over_a_point_shows_its_numbers(open_report):
    browser = open_report()
    browser.live("a-test-0")

    shown = browser.pointed_at(
        "#a-test-0 .live .probe_marks path", "datum.batch === '1024' && datum.epoch === 8"
    )

    assert shown["batch size"] == "1024"
    assert shown["epoch"] == "8"
    assert float(shown["accuracy"]) == pytest.approx(mean_final(1024, 0.01, "test"), abs=5e-5)
    assert shown["observations"] == "3"
    browser.assert_quiet()


def test_every_chart_becomes_live_without_a_word_on_the_console(open_report):
    browser = open_report()
    panels = browser.ask("[...document.querySelectorAll('.plot')].map(p => p.id)")

    for view in ("epochs", "steps", "time"):
        browser.choose(view)
        for panel in panels:
            if browser.ask(f"document.getElementById('{panel}').offsetHeight > 0"):
                browser.live(panel)

    assert len(panels) == 3 * 6 + 2 + 3 + 1
    assert browser.ask("Object.keys(batchlabViews).length") == len(panels)
    browser.assert_quiet()


def test_a_chart_hidden_while_the_window_changed_has_its_new_width(open_report):
    browser = open_report()
    browser.live("a-test-0")
    browser.choose("steps")
    size = {"width": 700, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.tell("Emulation.setDeviceMetricsOverride", **size)
    browser.live("b-test-0")

    browser.choose("epochs")

    browser.wait_for(
        "document.querySelector('#a-test-0 .live svg').getBoundingClientRect().width"
        " - document.getElementById('a-test-0').offsetWidth < 2 && "
        "document.querySelector('#a-test-0 .live svg').getBoundingClientRect().width > 200"
    )


def test_with_scripts_blocked_charts_switch_tables_and_data_are_there(open_report):
    browser = open_report(scripts=False)

    assert browser.ask("typeof window.batchlabViews") == "undefined"
    width = "document.querySelector('#{} .still svg').getBoundingClientRect().width"
    assert browser.ask(width.format("a-test-0")) > 250
    assert browser.ask(width.format("c-test-0")) == 0
    browser.driver.find_element("id", "view-time").click()
    assert browser.ask(width.format("c-test-0")) > 250
    assert browser.ask("document.querySelectorAll('#table-g tbody tr').length") == 24
    address = browser.ask("document.querySelector('a[download*=observations]').href")
    assert unquote(address.partition(",")[2]) == observations_table(STUDY).to_csv()


@pytest.mark.parametrize("scripts", [True, False], ids=["live", "scripts blocked"])
def test_a_phone_never_scrolls_sideways(open_report, scripts):
    browser = open_report(width=380, scripts=scripts)
    if scripts:
        browser.live("a-test-0")
    browser.ask("document.querySelectorAll('details').forEach(d => d.open = true)")

    for view in ("epochs", "steps", "time"):
        browser.choose(view)
        assert browser.ask("document.documentElement.scrollWidth") <= 380
    sizes = browser.ask(
        "[...document.querySelectorAll('#c-test-0 svg text')].filter(t => t.textContent.trim())"
        ".map(t => t.getBoundingClientRect()).map(r => Math.max(r.width, r.height))"
        ".filter(size => size > 0)"
    )
    assert len(sizes) > 5
    assert min(sizes) >= 9


CONTRASTS = """
(() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = (c) => {
    const [r, g, b] = parse(c).slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (parse(c)[3] !== 0) return c;
    }
    return "rgb(255, 255, 255)";
  };
  const seen = [];
  const texts = "p, li, td, th, h1, h2, h3, a, dt, dd, summary, label, figcaption, caption, code,"
    + "strong, svg text";
  for (const e of document.querySelectorAll(texts)) {
    // A cross is a mark and no text: marks have a test of their own, in test_palette.py.
    if (!e.getClientRects().length || ["", "×"].includes(e.textContent.trim())) continue;
    const style = getComputedStyle(e);
    const ink = e instanceof SVGElement ? style.fill : style.color;
    const [low, high] = [light(ink), light(ground(e))].sort((a, b) => a - b);
    seen.push([(high + 0.05) / (low + 0.05), e.tagName, e.textContent.slice(0, 40)]);
  }
  return [seen.length, seen.sort((a, b) => a[0] - b[0])[0]];
})()
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_stands_out_from_its_ground(open_report, dark):
    browser = open_report(dark=dark)
    browser.live("a-test-0")

    n_texts, worst = browser.ask(CONTRASTS)

    assert n_texts > 100
    assert worst[0] >= 4.5, worst
    ground = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(21, 24, 29)") == dark
    line = "getComputedStyle(document.querySelector('#a-test-0 .live .mark-line path')).stroke"
    assert browser.ask(line) == ("rgb(255, 154, 61)" if dark else "rgb(208, 96, 0)")
    browser.assert_quiet()


def test_the_keyboard_reaches_skip_link_switch_tables_and_downloads(open_report):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser = open_report()
    reached = []

    for _ in range(60):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        reached.append(
            browser.ask(
                "(({className, id, tagName, download}) => [className, id, tagName, download])"
                "(document.activeElement).join(' ').trim()"
            )
        )

    assert reached[0].startswith("skip")
    words = "\n".join(reached)
    assert "view-epochs" in words
    assert "scroll" in words
    assert "SUMMARY" in words
    assert "batchlab-observations.csv" in words
