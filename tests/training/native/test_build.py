"""Libraries: built once, in a folder of their owner's."""

from __future__ import annotations

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


def test_a_library_is_built_once_in_a_folder_of_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deep" / "native"
    first = built(text_of("once", 3), folder=folder)
    monkeypatch.setattr(build, "_compile", lambda *_: pytest.fail("built again"))

    again = built(text_of("once", 3), folder=folder)

    assert again == first
    assert answer_of(again, "once") == 3
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == [again]


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
    ("script", "timeout_s", "reason"),
    [
        ("echo 'not that' >&2; exit 1", 60.0, "not that"),
        ("kill -KILL $$", 60.0, "ended with -9"),
        ("exec sleep 60", 0.1, "took more than"),
    ],
)
def test_a_compiler_that_fails_or_hangs_is_a_reason(
    script: str, timeout_s: float, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    compiler.chmod(0o755)
    monkeypatch.setattr(build, "compiler_of_this_machine", lambda: str(compiler))

    with pytest.raises(RefusedError, match=reason):
        built(text_of("failing", 1), folder=tmp_path / "cache", timeout_s=timeout_s)


def test_libraries_of_one_process_do_not_take_each_others_place(tmp_path: Path) -> None:
    libraries = [built(text_of("same", number), folder=tmp_path) for number in range(3)]

    assert [answer_of(library, "same") for library in libraries] == [0, 1, 2]


def test_what_is_no_library_is_a_reason(tmp_path: Path) -> None:
    library = built(text_of("no_library", 1), folder=tmp_path)
    library.write_bytes(b"no library")

    with pytest.raises(RefusedError, match="could not be built"):
        loaded(library)
