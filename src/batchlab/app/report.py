"""Report: a stored study, written as a page, text, tables, images or JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import msgspec

from batchlab.advice.advice import Advice
from batchlab.app.output_file import check_output_file, write_output_file, write_output_files
from batchlab.errors import BatchlabError, UsageError
from batchlab.measure.profile import Profile
from batchlab.records.study import Study
from batchlab.runs.replay import stored_journal
from batchlab.store.schema import JsonColumn
from batchlab.store.store import Store

ReportFormat = Literal["html", "text", "csv", "svg", "png", "json"]


_ADVICE: Final = JsonColumn[Advice](Advice)


def put_advice(store: Store, study_id: str, advice: Advice) -> None:
    """Store the advice of a study."""
    text = _ADVICE.encoded(advice, f"the advice of study {study_id}")
    store.put_document(study_id, "advice", text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Advised:
    """An advice, with the study and the profile that the advice is based on."""

    advice: Advice  # The recommendation to the user.
    study: Study  # The workload with its training runs.
    profile: Profile  # Step times and memory by batch size, of this or another machine.


def advice_of(store: Store, study: Study) -> Advised | None:
    """Return a study's advice with its study and profile, or None if there is no advice.

    An advice that this version cannot read counts as missing. Calling the study's command again
    computes a new advice from the stored trials.
    """
    text = store.document(study.study_id, "advice")
    if text is None:
        return None
    try:
        advice = _ADVICE.decoded(text)
    except msgspec.DecodeError:
        return None
    # Use the last profile, because the first may have only the reference batch size.
    for entry in reversed(stored_journal(store, study.study_id)):
        if (profile := entry.elsewhere or entry.profile) is not None:
            return Advised(advice=advice, study=study, profile=Profile.from_json(profile))
    return None


def stored(store: Path, study: str | None) -> Study | Advised:
    """Return a study of a store, or its advice if there is one.

    It is the study whose id begins with `study`; if `study` is None, the last study.
    """
    with Store.existing(store) as opened:
        record = opened.study(_study_id(opened, study))
        advised = advice_of(opened, record)
        if advised is not None:
            return advised
        return replace(record, awaits_answer=bool(stored_journal(opened, record.study_id)))


def write_page(shown: Study | Advised, path: Path) -> None:
    """Write the HTML page of a study to a file."""
    from batchlab.report.advice_page import render_advice_html
    from batchlab.report.sweep_page import html_page

    if isinstance(shown, Advised):
        page = render_advice_html(shown.advice, shown.study, shown.profile)
    else:
        page = html_page(shown)
    write_output_file(path, page.encode())


def text_of(shown: Study | Advised, *, page: Path | None = None, explains: bool = True) -> str:
    """Return a study or an advice as text; if `explains`, also how the advice was reached."""
    if not isinstance(shown, Advised):
        from batchlab.report.sweep_page import text_report

        return text_report(shown)
    from batchlab.report.advice_page import advice_text, explain_text

    text = advice_text(shown.advice, study=shown.study, report=page)
    if explains:
        text += f"\n{explain_text(shown.advice, study=shown.study)}"
    return text


def json_document(shown: Study | Advised, *, store: Path, page: Path | None) -> str:
    """Return the JSON document of a study; `page` is the path of the study's page, or None."""
    if isinstance(shown, Advised):
        from batchlab.advice.advice import advice_document

        return advice_document(shown.advice, shown.study, store=store, report=page)
    from batchlab.report.sweep_page import sweep_document

    return sweep_document(shown, store=store, report=page)


def write_files(
    shown: Study | Advised, output_format: ReportFormat, path: Path | None, *, store: Path
) -> tuple[Path, ...]:
    """Write a study as a page, text, JSON document, tables or images.

    A page, a text, a JSON document or the first table is written to `path`. The files of images and
    further tables have their own names added to the name of `path`. If `path` is None, it is
    `batchlab-report.` followed by the format.

    Returns:
        The files that were written.

    Raises:
        UsageError: `path` is a store or folder, or its folder is unusable.
        BatchlabError: writing fails, or no figure has data.
    """
    path = path or Path(f"batchlab-report.{output_format}")
    check_output_file(path, store=store, example=f"report.{output_format}")
    if output_format == "html":
        write_page(shown, path)
        return (path,)
    if output_format in ("text", "json"):
        words = text_of(shown)
        if output_format == "json":
            words = json_document(shown, store=store, page=None) + "\n"
        write_output_file(path, words.encode())
        return (path,)
    from batchlab.report.advice_figures import advice_figures, advice_looks
    from batchlab.report.advice_page import advice_files
    from batchlab.report.cells import figure_looks
    from batchlab.report.chart import figure_images
    from batchlab.report.sweep_page import sweep_figures, sweep_files

    if isinstance(shown, Advised):
        figures = advice_figures(shown.advice, shown.study, shown.profile)
        looks, tables = advice_looks(shown.advice), advice_files(shown.advice, shown.study)
    else:
        figures, looks, tables = sweep_figures(shown), figure_looks(shown), sweep_files(shown)
    if output_format == "csv":
        first, *others = [(name, table.to_csv().encode()) for name, table in tables.items()]
        write_output_file(path, first[1])
        return (path, *write_output_files(path.with_suffix(".csv"), dict(others)))
    images = figure_images(figures, looks, "png" if output_format == "png" else "svg")
    if not images:
        raise BatchlabError("no figure has any data; train more batch sizes first")
    return write_output_files(path.with_suffix(f".{output_format}"), images)


def _study_id(store: Store, wanted: str | None) -> str | None:
    if wanted is None:
        return None
    studies = store.studies()
    matching = [study_id for study_id, _, _ in studies if study_id.startswith(wanted)]
    if len(matching) == 1:
        return matching[0]
    listing = ", ".join(f"{name} ({moment})" for name, moment, _ in studies) or "none"
    what = f"{len(matching)} studies" if matching else "no study"
    raise UsageError(f"{store.path} has {what} whose id begins with {wanted!r}; it has {listing}")


def write_record_page(record: Advice | Study, path: Path) -> Path:
    """Write the page of an advice or a study to `path`; read the runs of an advice from disk."""
    if isinstance(record, Study):
        check_output_file(path, store=None, option="report")
        write_page(record, path)
        return path
    if record.kept_in is None:
        raise UsageError(
            "this advice does not know where its runs are; ask batchlab.advise again, which "
            "answers at once from its store"
        )
    store, study_id = record.kept_in
    check_output_file(path, store=Path(store), option="report")
    write_page(stored(Path(store), study_id), path)
    return path
