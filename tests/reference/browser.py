"""A real browser with a report open: what a reader sees, and what the console says."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
# The marks of a module whose tests open one.
NEEDS_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="no Chromium with its driver: install the packages chromium and chromium-driver",
    ),
]
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
WAIT_S = 20.0


class Browser:
    """A fresh Chromium with the report open."""

    def __init__(self, report: Path | str, profile: Path, *, width: int, dark: bool, scripts: bool):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        from selenium.webdriver.support.wait import WebDriverWait

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
        self.address = report if isinstance(report, str) else report.as_uri()
        self.driver.get(self.address)
        # On a busy machine `get` once came back with the page's first chart only.
        WebDriverWait(self.driver, WAIT_S).until(
            lambda _: self.ask("document.readyState") == "complete"
        )

    def tell(self, command: str, **arguments: Any) -> dict[str, Any]:
        return self.driver.execute_cdp_cmd(command, arguments)

    def ask(self, expression: str) -> Any:
        """The value of an expression; the inspector answers where scripts are blocked, too."""
        answer = self.tell("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def assert_quiet(self) -> None:
        """No message on the console, and no request but for the page itself."""
        assert [entry["message"] for entry in self.driver.get_log("browser")] == []
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        requests = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        # The browser's own start page asks for its parts; the report's document asks for itself.
        ours = [r["request"]["url"] for r in requests if r["documentURL"].startswith("file://")]
        assert [address for address in ours if not address.startswith("data:")] == [self.address]
