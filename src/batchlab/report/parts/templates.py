"""Templates: the HTML of pages and cells, filled in; what a user wrote is escaped in each."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "templates"


def rendered(template: str, **values: object) -> str:
    """A template with its values.

    Args:
        template: its file name.
        values: by the names that it uses; one that is missing is an error.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**values)
