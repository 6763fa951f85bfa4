"""A file or folder is whole or absent, and on the disk before its name is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from narl.core import files
from narl.core.files import first_file, replace_whole, whole_file, whole_folder, write_whole


@pytest.fixture
def calls(monkeypatch):
    """What was synced and renamed, in order."""
    made: list[tuple[str, str]] = []
    rename = os.replace

    def renamed(before: Path, after: Path) -> None:
        made.append(("rename", after.name))
        rename(before, after)

    monkeypatch.setattr(files, "_sync", lambda path: made.append(("sync", path.name)))
    monkeypatch.setattr(os, "replace", renamed)
    return made


def write_then_fail(path: Path) -> None:
    path.write_text("half")
    raise FileNotFoundError


def test_file_is_synced_then_renamed_then_its_folder_synced(tmp_path, calls):
    with whole_file(tmp_path / "a", name="b") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "a").exists()
    assert calls == [("sync", "b"), ("rename", "a"), ("sync", tmp_path.name)]
    assert (tmp_path / "a").read_text() == "new"


def test_every_file_of_a_folder_is_synced_before_the_folder_appears(tmp_path, calls):
    with whole_folder(tmp_path / "a") as temporary:
        (temporary / "in").mkdir()
        (temporary / "in" / "file").write_text("new")
        assert not (tmp_path / "a").exists()
    rename = calls.index(("rename", "a"))
    assert set(calls[:rename]) == {("sync", "in"), ("sync", "file"), ("sync", ".a.partial")}
    assert calls[rename + 1 :] == [("sync", tmp_path.name)]
    assert (tmp_path / "a" / "in" / "file").read_text() == "new"


def test_unsynced_replacement_only_renames(tmp_path, calls):
    (tmp_path / "b").write_text("new")
    replace_whole(tmp_path / "b", tmp_path / "a", synced=False)
    assert calls == [("rename", "a")]


@pytest.mark.parametrize("whole", [whole_file, first_file, whole_folder])
def test_nothing_is_left_after_an_error(tmp_path, whole):
    with pytest.raises(FileNotFoundError), whole(tmp_path / "a") as temporary:
        write_then_fail(temporary / "file" if whole is whole_folder else temporary)
    assert list(tmp_path.iterdir()) == []


def test_of_two_that_write_at_once_the_first_to_finish_decides(tmp_path):
    with first_file(tmp_path / "a") as slow:
        slow.write_text("slow")
        with first_file(tmp_path / "a") as quick:
            quick.write_text("quick")
    assert (tmp_path / "a").read_text() == "quick"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_leaves_the_old_content(tmp_path):
    write_whole(tmp_path / "a", "old")
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a") as temporary:
        write_then_fail(temporary)
    assert (tmp_path / "a").read_text() == "old"


def test_folder_is_not_put_in_place_of_one_that_holds_something(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "kept").write_text("old")
    with pytest.raises(OSError, match="not empty"), whole_folder(tmp_path / "a") as temporary:
        (temporary / "file").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "kept"]


def test_folder_takes_the_place_of_another_whole_or_not_at_all(tmp_path):
    for content in ("old", "new"):
        with whole_folder(tmp_path / "a", replaces=True) as temporary:
            (temporary / content).touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["new"]
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "a", replaces=True) as temporary:
        write_then_fail(temporary / "file")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "new"]
