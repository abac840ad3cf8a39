"""Hooks of mkdocs.yml: pages written for a code host become pages of the site.

Pages link to README.md or examples/train.py as they lie in the repository, so that the links work
on a code host too. For the site each such file is added under `repository/`: Markdown as it is,
other text as a page that shows it, a folder as a list of its files.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parents[1]
_ADDED = "repository/"
_LISTED = (".csv", ".md", ".py", ".txt")  # of a folder; a store that lies there is no page
_TABLE_ROW = re.compile(r"^\|.*$", re.MULTILINE)
_CODE = re.compile(r"`[^`]+`")
_IN_ONE_LINE = re.compile(r"(?<=\d) (?=%)|(?<=%) (?=/ )")  # a number, its sign and the slash after
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:)[^)#\s]+")


def on_config(config: MkDocsConfig) -> None:
    """Leave out the page for unknown addresses: its links need a server."""
    config.theme.static_templates.discard("404.html")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages link to outside docs/, and what that links to."""
    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith("docs/"):
            files.append(
                File.generated(
                    config, page_of(path), content=shown(path), inclusion=InclusionLevel.NOT_IN_NAV
                )
            )
        for target in linked_from(path):
            if target not in seen and not target.startswith("docs/"):
                waiting.append(target)
            seen.add(target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links across the border of docs/ lead to the pages made above, and mend small things."""
    path, folder = file_of(page.file.src_uri), posixpath.dirname(page.file.src_uri) or "."

    def led(link: re.Match[str]) -> str:
        target = resolved(link[0], path)
        return link[0] if target is None else posixpath.relpath(page_of(target), folder)

    return _IN_ONE_LINE.sub("\N{NO-BREAK SPACE}", with_plain_pipes(_LINK.sub(led, markdown)))


def with_plain_pipes(markdown: str) -> str:
    """Code in tables without the backslash that a code host needs there before a pipe."""
    return _TABLE_ROW.sub(
        lambda row: _CODE.sub(lambda code: code[0].replace(r"\|", "|"), row[0]), markdown
    )


def linked_from(path: str) -> Iterator[str]:
    """The files of the repository that a file links to."""
    for link in _LINK.findall(shown(path)):
        target = resolved(link, path)
        if target is not None:
            yield target


def resolved(link: str, path: str) -> str | None:
    """What a relative link in the file `path` leads to, from the root; None: nothing there."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    return target if not target.startswith("..") and (_ROOT / target).exists() else None


def page_of(path: str) -> str:
    """The source of the page that shows a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{_ADDED}{path}" + ("" if path.endswith(".md") else ".md")


def file_of(page: str) -> str:
    """The file of the repository that a page shows; the inverse of `page_of`."""
    if not page.startswith(_ADDED):
        return f"docs/{page}"
    path = page.removeprefix(_ADDED)
    return path if (_ROOT / path).exists() else path.removesuffix(".md")


def shown(path: str) -> str:
    """A file or folder of the repository as Markdown."""
    at = _ROOT / path
    if at.is_dir():
        names = sorted(each.name for each in at.iterdir() if each.suffix in _LISTED)
        return "\n".join([f"# {path}", "", *(f"- [{name}]({at.name}/{name})" for name in names)])
    text = at.read_text("utf-8")
    return text if at.suffix == ".md" else f"# {path}\n\n````{at.suffix[1:]}\n{text}````\n"
