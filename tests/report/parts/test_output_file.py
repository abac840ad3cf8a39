from __future__ import annotations

import errno
import os

import pytest

from batchlab.errors import UsageError
from batchlab.report.output_file import OutputFileError, check_output_file, write_output_file
from batchlab.store.store import Store


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "report.html"
    path.write_bytes(b"old")

    write_output_file(path, b"new")

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OutputFileError, match=r"No space left on device.*unchanged.*free some"):
        write_output_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OutputFileError, match=r"there is no folder .*absent; .*make that folder"):
        write_output_file(tmp_path / "absent" / "report.html", b"new")


def test_a_folder_as_target_is_refused(tmp_path):
    with pytest.raises(OutputFileError, match="it is a folder; give a file name"):
        write_output_file(tmp_path, b"new")


def test_a_page_in_place_of_any_store_is_refused(tmp_path):
    with Store(tmp_path / "lab.db"):
        pass

    with pytest.raises(UsageError, match=r"--report .*lab\.db is a store; give another file"):
        check_output_file(tmp_path / "lab.db", store=None)
