"""Libraries: built once, in a folder of their owner's."""

import stat

import pytest

from batchlab.training.native import build
from batchlab.training.native.build import built, loaded
from batchlab.training.native.graph import RefusedError


def text_of(number: int) -> str:
    return f'__attribute__((visibility("default"))) int answer(void) {{ return {number}; }}\n'


def test_each_text_is_built_once_in_a_folder_of_its_owner_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "cache_folder", lambda: tmp_path / "deep")
    libraries = [built(text_of(number)) for number in range(3)]
    monkeypatch.setattr(build, "_compile", lambda *_: pytest.fail("built again"))

    assert [built(text_of(number)) for number in range(3)] == libraries
    assert [loaded(library).answer() for library in libraries] == [0, 1, 2]
    assert stat.S_IMODE((tmp_path / "deep" / "native").stat().st_mode) == 0o700
    assert sorted((tmp_path / "deep" / "native").iterdir()) == sorted(libraries)


def test_a_cache_that_may_not_be_written_or_holds_something_else_is_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "cache_folder", lambda: tmp_path)
    library = built(text_of(1))
    library.write_bytes(b"no library")

    with pytest.raises(RefusedError, match="could not be built"):
        loaded(library)
    monkeypatch.setattr(build, "cache_folder", lambda: library)
    with pytest.raises(RefusedError, match="could not be built"):
        built(text_of(5))


@pytest.mark.parametrize(
    ("script", "timeout_s", "reason"),
    [
        (None, 60.0, "no C compiler"),
        ("echo 'not that' >&2; exit 1", 60.0, "not that"),
        ("kill -KILL $$", 60.0, "ended with -9"),
        ("exec /bin/sleep 60", 0.1, "took more than"),
    ],
)
def test_a_compiler_that_cannot_build_is_a_reason(script, timeout_s, reason, tmp_path, monkeypatch):
    if script is not None:
        compiler = tmp_path / "cc"
        compiler.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(build, "COMPILER_S", timeout_s)

    with pytest.raises(RefusedError, match=reason):
        built(text_of(1))
