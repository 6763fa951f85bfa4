"""Pictures that cannot be read are all named, before anything is trained and with either loader."""

from __future__ import annotations

import pytest
from small_data import LOADERS, folder_pipeline, write_images

from narl.core.errors import DataError, some_of
from narl.data.dataset import open_dataset
from narl.data.sources.base import Files

BAD = {"cat/001.png": b"", "cat/005.png": b"\x89PNG but not really", "dog/004.png": b"GIF89a", "dog/005.png": b"<html>"}


@pytest.mark.parametrize("loader", LOADERS)
def test_all_that_cannot_be_read_are_named_when_the_data_are_opened(animals, tmp_path, loader):
    for name, content in BAD.items():
        (animals / name).write_bytes(content)
    with pytest.raises(DataError, match="4 of 14 images cannot be used: cannot read the image .*") as caught:
        open_dataset(folder_pipeline(animals), ("train", "validation"), loader, tmp_path / "cache")
    assert all(name in str(caught.value) for name in BAD)
    for name in BAD:
        write_images(animals / name.partition("/")[0], 8, seed=3)
    open_dataset(folder_pipeline(animals), ("train", "validation"), loader, tmp_path / "cache")


def test_they_are_looked_at_once_a_cache(animals, tmp_path, monkeypatch):
    looked_at = []
    image = Files.image
    monkeypatch.setattr(Files, "image", lambda self, i: looked_at.append(i) or image(self, i))
    for _ in range(2):
        open_dataset(folder_pipeline(animals), loader="tensor", cache_dir=tmp_path / "cache")
    assert sorted(looked_at) == list(range(14))
    write_images(animals / "cat", 1, seed=9)
    open_dataset(folder_pipeline(animals), loader="tensor", cache_dir=tmp_path / "cache")
    assert len(looked_at) == 28


def test_of_many_faults_ten_are_told():
    assert some_of(["a", "b"]) == "a; b"
    assert some_of([str(i) for i in range(13)]) == "0; 1; 2; 3; 4; 5; 6; 7; 8; 9; and 3 more"
