"""Libraries: built once, in a folder of their owner's."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from batchlab.training.native import build
from batchlab.training.native.build import built, loaded
from batchlab.training.native.graph import RefusedError

TEXT = "int {name}(void) {{ return {number}; }}\n"


def answer_of(library: Path, name: str) -> int:
    return int(getattr(loaded(library), name)())


def text_of(name: str, number: int) -> str:
    kept = '__attribute__((visibility("default"))) '
    return kept + TEXT.format(name=name, number=number)


def made_compiler(folder: Path, script: str) -> str:
    path = folder / "cc"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_library_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = built(text_of("once", 3), folder=tmp_path)
    monkeypatch.setattr(build, "_compile", lambda *given: pytest.fail("built again"))

    again = built(text_of("once", 3), folder=tmp_path)

    assert again == first
    assert answer_of(again, "once") == 3


def test_the_folder_is_its_owners_only(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "native"

    library = built(text_of("own", 1), folder=folder)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == [library]


def test_a_cache_that_may_not_be_written_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(RefusedError, match="could not be built"):
        built(text_of("nowhere", 5), folder=tmp_path / "file" / "native")


def test_without_a_compiler_there_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RefusedError, match="no C compiler"):
        built(text_of("none", 1), folder=tmp_path)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("echo 'not that' >&2; exit 1", "not that"),
        ("kill -KILL $$", "ended with -9"),
    ],
)
def test_a_compiler_that_fails_is_a_reason(
    script: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = made_compiler(tmp_path, script)
    monkeypatch.setattr(build, "compiler_of_this_machine", lambda: compiler)

    with pytest.raises(RefusedError, match=code):
        built(text_of("failing", 1), folder=tmp_path / "cache")


def test_a_compiler_that_hangs_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = made_compiler(tmp_path, "exec sleep 60")
    monkeypatch.setattr(build, "compiler_of_this_machine", lambda: compiler)

    with pytest.raises(RefusedError, match="took more than"):
        built(text_of("hanging", 1), folder=tmp_path / "cache", timeout_s=0.1)


def test_libraries_of_one_process_do_not_take_each_others_place(tmp_path: Path) -> None:
    libraries = [built(text_of("same", number), folder=tmp_path) for number in range(3)]

    assert [answer_of(library, "same") for library in libraries] == [0, 1, 2]
    assert os.listdir(tmp_path)


def test_what_is_no_library_is_a_reason(tmp_path: Path) -> None:
    library = built(text_of("no_library", 1), folder=tmp_path)
    library.write_bytes(b"no library")

    with pytest.raises(RefusedError, match="could not be built"):
        loaded(library)
