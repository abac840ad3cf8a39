"""Libraries: built once, their owner's only, never loaded when they are not what was built."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path

import pytest

from batchlab.training.native import build
from batchlab.training.native.build import Library, built, loaded
from batchlab.training.native.graph import RefusedError

TEXT = "int {name}(void) {{ return {number}; }}\n"


def answer_of(library: Library, name: str) -> int:
    return int(getattr(loaded(library), name)())


def text_of(name: str, number: int) -> str:
    kept = '__attribute__((visibility("default"))) '
    return kept + TEXT.format(name=name, number=number)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def made_compiler(folder: Path, script: str) -> str:
    path = folder / "cc"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_library_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = built(text_of("once", 3), folder=tmp_path)
    monkeypatch.setattr(build, "_run", lambda *given: pytest.fail("built again"))

    again = built(text_of("once", 3), folder=tmp_path)

    assert again == first
    assert answer_of(again, "once") == 3


def test_folder_and_files_are_their_owners_only(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "native"

    library = built(text_of("own", 1), folder=folder)

    assert mode_of(folder) == 0o700
    assert {mode_of(file) for file in folder.iterdir()} == {0o600}
    assert sorted(file.suffix for file in folder.iterdir()) == [".sha256", ".so"]
    assert library.path.parent == folder


def test_a_tampered_library_is_built_anew(tmp_path: Path) -> None:
    first = built(text_of("tampered", 1), folder=tmp_path)
    other = built(text_of("tampered", 2), folder=tmp_path)
    first.path.write_bytes(other.path.read_bytes())

    with pytest.raises(RefusedError, match="native_tampered"):
        loaded(first)
    again = built(text_of("tampered", 1), folder=tmp_path)

    assert answer_of(again, "tampered") == 1


def test_a_library_that_others_may_write_to_is_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = built(text_of("open", 1), folder=tmp_path)
    first.path.chmod(0o666)
    runs = []
    run = build._run
    monkeypatch.setattr(build, "_run", lambda *given: (runs.append(given), run(*given)))

    built(text_of("open", 1), folder=tmp_path)

    assert len(runs) == 1
    assert mode_of(first.path) == 0o600


def test_where_the_cache_may_not_be_written_another_folder_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(build.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))

    library = built(text_of("elsewhere", 5), folder=tmp_path / "file" / "native")

    assert library.path.is_relative_to(tmp_path / "temporary")
    assert answer_of(library, "elsewhere") == 5


def test_a_full_disk_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "_write_own", full)
    monkeypatch.setattr(build.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))

    with pytest.raises(RefusedError, match="No space left"):
        built(text_of("full", 1), folder=tmp_path)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_without_a_compiler_there_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RefusedError, match="native_no_compiler"):
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


@pytest.mark.slow
def test_a_compiler_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "pid"
    compiler = made_compiler(tmp_path, f"sleep 60 & echo $! > {told}; wait")
    monkeypatch.setattr(build, "compiler_of_this_machine", lambda: compiler)

    with pytest.raises(RefusedError, match="native_compiler_hangs"):
        built(text_of("hanging", 1), folder=tmp_path / "cache", timeout_s=0.5)

    until_s = time.monotonic() + 5.0  # a signal that was sent has its time
    while _runs(int(told.read_text())) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert not _runs(int(told.read_text()))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_libraries_of_one_process_do_not_take_each_others_place(tmp_path: Path) -> None:
    libraries = [built(text_of("same", number), folder=tmp_path) for number in range(3)]

    assert [answer_of(library, "same") for library in libraries] == [0, 1, 2]
    assert os.listdir(tmp_path)


def test_what_is_no_library_is_a_reason(tmp_path: Path) -> None:
    library = built(text_of("no_library", 1), folder=tmp_path)
    library.path.write_bytes(b"no library")
    told = Library(library.path, hashlib.sha256(b"no library").hexdigest())

    with pytest.raises(RefusedError, match="native_build_failed"):
        loaded(told)
