"""Screenshots of every kind of page, and one sheet with all of them."""

from __future__ import annotations

import base64
import html
import sys
import tempfile
from pathlib import Path

from tests.reference.browser import Browser
from tests.reference.pages import PAGES, write_page

# Width, height and scheme; the first screen of each.
VIEWS = {"screen": (1280, 800, False), "dark": (1280, 800, True), "phone": (390, 844, False)}


def main(folder: Path) -> None:
    """Write one PNG a page and view into `folder`, and `sheet.png`."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in PAGES:
            page = Path(scratch) / f"{name}.html"
            write_page(name, page)
            for view, (width, height, dark) in VIEWS.items():
                picture = folder / f"{name}-{view}.png"
                profile = Path(scratch) / f"{name}-{view}"
                shoot(page, picture, profile, width=width, height=height, dark=dark)
                print(picture, flush=True)
        sheet = Path(scratch) / "sheet.html"
        sheet.write_text(sheet_html(folder))
        height = 80 + 330 * len(PAGES)
        profile = Path(scratch) / "sheet"
        shoot(sheet, folder / "sheet.png", profile, width=1200, height=height, dark=False)
    print(folder / "sheet.png")


def shoot(page: Path, picture: Path, profile: Path, *, width: int, height: int, dark: bool) -> None:
    """One screenshot of the first `height` pixels of a page, its charts drawn."""
    browser = Browser(page, profile, width=width, dark=dark, scripts=True)
    try:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.tell("Emulation.setDeviceMetricsOverride", **size)
        for panel in browser.ask("[...document.querySelectorAll('.first .plot')].map(p => p.id)"):
            browser.live(panel)
        browser.ask("window.scrollTo(0, 0)")
        shot = browser.tell("Page.captureScreenshot", format="png")
        picture.write_bytes(base64.b64decode(shot["data"]))
    finally:
        browser.driver.quit()


def sheet_html(folder: Path) -> str:
    """A page with all pictures, a row a page."""
    rows = []
    for name in PAGES:
        pictures = "".join(
            f'<img height="270" src="{(folder / f"{name}-{view}.png").resolve().as_uri()}"> '
            for view in VIEWS
        )
        rows.append(f"<h2>{html.escape(name)}</h2>{pictures}")
    style = "body{font:14px sans-serif} h2{font-size:14px} img{border:1px solid gray}"
    return f"<!DOCTYPE html><meta charset=utf-8><style>{style}</style>{''.join(rows)}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
