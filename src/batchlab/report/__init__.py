"""The report: a Study as a page, text, table or images. It reads records and nothing else."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchlab.report.sweep_page import text_report, write_csv, write_html, write_images

_HOME = {
    "text_report": "sweep_page",
    "write_csv": "sweep_page",
    "write_html": "sweep_page",
    "write_images": "sweep_page",
}
__all__ = ["text_report", "write_csv", "write_html", "write_images"]


def __getattr__(name: str) -> object:  # PEP 562: a text report loads no plotting library
    if name not in _HOME:
        raise AttributeError(f"batchlab.report has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"batchlab.report.{_HOME[name]}"), name)
