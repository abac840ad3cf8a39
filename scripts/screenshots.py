"""Screenshots of every kind of page, one sheet with all of them, and a picture of the demo's."""

from __future__ import annotations

import base64
import html
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.reference.browser import Browser
from tests.reference.pages import PAGES, write_page

ROOT = Path(__file__).parents[1]
FIGURES, PICTURES = ROOT / "docs" / "figures", ROOT / "screenshots"


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """How a page is looked at, its first screen."""

    width: int
    height: int
    dark: bool = False
    media: str = ""


VIEWS = {
    "screen": View(width=1280, height=800),
    "dark": View(width=1280, height=800, dark=True),
    "print": View(width=1280, height=800, media="print"),
    "phone": View(width=360, height=740),
}
# Of the sheet: how high a picture and a row are, in pixels.
_PICTURE, _ROW = 200, 236


def write_sheet() -> None:
    """Write one PNG per page and view into `screenshots/`, and all of them as one sheet."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in PAGES:
            page = Path(scratch) / f"{name}.html"
            write_page(name, page)
            for view, look in VIEWS.items():
                picture = PICTURES / f"{name}-{view}.png"
                picture.write_bytes(shot(page, Path(scratch) / f"{name}-{view}", look))
                print(picture, flush=True)
        sheet = Path(scratch) / "sheet.html"
        sheet.write_text(_sheet_html())
        look = View(width=1200, height=20 + _ROW * len(PAGES))
        file = FIGURES / "pages.jpg"
        file.write_bytes(shot(sheet, Path(scratch) / "sheet", look, image_format="jpeg"))
    print(file)


def write_demo() -> None:
    """Write what a reader sees first of the page of the demo."""
    page, file = ROOT / "batchlab-report.html", FIGURES / "demo-page.png"
    if not page.exists():
        sys.exit(f"there is no {page}: run scripts/demo first")
    with tempfile.TemporaryDirectory() as scratch:
        file.write_bytes(shot(page, Path(scratch) / "demo", View(width=1100, height=860)))
    print(file)


def shot(page: Path, profile: Path, look: View, *, image_format: str = "png") -> bytes:
    """Return one screenshot of the first screen of a page."""
    browser = Browser(page, profile, width=look.width, dark=look.dark, scripts=True)
    try:
        size = {"width": look.width, "height": look.height, "deviceScaleFactor": 1}
        browser.tell("Emulation.setDeviceMetricsOverride", **size, mobile=look.width < 500)
        if look.media:
            browser.tell("Emulation.setEmulatedMedia", media=look.media)
        quality = {"quality": 70} if image_format == "jpeg" else {}
        made = browser.tell("Page.captureScreenshot", format=image_format, **quality)
        return base64.b64decode(made["data"])
    finally:
        browser.driver.quit()


def _sheet_html() -> str:
    """Return a page with all pictures, a row per page."""
    rows = []
    for name in PAGES:
        pictures = "".join(
            f'<img height="{_PICTURE}" src="{(PICTURES / f"{name}-{view}.png").as_uri()}"> '
            for view in VIEWS
        )
        rows.append(f"<div><h2>{html.escape(name)}</h2>{pictures}</div>")
    style = (
        "body{font:12px sans-serif;margin:10px} h2{font-size:12px;margin:4px 0} "
        f"img{{border:1px solid gray}} div{{height:{_ROW}px}}"
    )
    return f"<!DOCTYPE html><meta charset=utf-8><style>{style}</style>{''.join(rows)}"


if __name__ == "__main__":
    write_demo() if sys.argv[1:] == ["demo"] else write_sheet()
