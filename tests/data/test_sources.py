"""Sources: what they hold, and one clear message for each way they can be wrong."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data import write_images
from torchvision.datasets import CIFAR10

from narl.config.load import build
from narl.config.pipeline import Cifar10Source, DigitsSource, ImageFolderSource, Pipeline, TableSource
from narl.config.pipeline import Image as ImageConfig
from narl.core.errors import DataError
from narl.data.handover import pack, unpack
from narl.data.preprocess import read_squares, to_square
from narl.data.sources import open_source
from narl.data.sources.image_folder import EXTENSIONS


def folder(root, **names):
    return open_source(ImageFolderSource(kind="image_folder", root=str(root), **names))


def table(path, **names):
    return open_source(TableSource(kind="table", csv=str(path), **names))


def test_digits_are_scaled_to_all_of_uint8():
    source = open_source(DigitsSource(kind="digits"))
    assert len(source) == 1797 and set(source.subsets) == {None}
    image = source.image(0)
    assert image.shape == (8, 8, 3) and image.dtype == np.uint8
    assert max(source.image(i).max() for i in range(20)) == 255
    assert (image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all()
    assert sorted(set(source.columns["class"])) == [str(digit) for digit in range(10)]
    assert source.fingerprint() == open_source(DigitsSource(kind="digits")).fingerprint()


def test_absent_cifar10_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match="download: true"):
        open_source(Cifar10Source(kind="cifar10", root=str(tmp_path)))


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """Twelve images in CIFAR-10's layout, and a torchvision that takes them for the published ones."""
    folder = tmp_path / "cifar" / CIFAR10.base_folder
    folder.mkdir(parents=True)

    def written(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch(name, count):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 3072), dtype=np.uint8)
        return [name, written(name, {"data": pixels, "labels": [i % 2 for i in range(count)]})]

    monkeypatch.setattr(CIFAR10, "train_list", [batch("data_batch_1", 8)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch", 4)])
    meta = {
        "filename": "batches.meta",
        "key": "label_names",
        "md5": written("batches.meta", {"label_names": ["a", "b"]}),
    }
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return tmp_path / "cifar"


def test_cifar10_on_s3_and_handed_over_is_the_same(cifar10, bucket, tmp_path):
    source = open_source(Cifar10Source(kind="cifar10", root=str(cifar10)))
    assert set(source.files) == {str(path.relative_to(cifar10)) for path in cifar10.rglob("*batch*") if path.is_file()}
    (cifar10 / "cifar-10-python.tar.gz").write_bytes(b"not wanted")
    bucket.put_folder(cifar10)
    fetched = open_source(Cifar10Source(kind="cifar10", root=bucket.url()), tmp_path / "cache")
    labels = {"utility": {"name": "a"}, "private": {"name": "b"}}
    pipeline = build(Pipeline, {"name": "c", "source": {"kind": "cifar10", "root": str(cifar10)}, **labels}, "test")
    package = pack(pipeline)
    handed = open_source(unpack(package.meta, package.chunks, tmp_path / "cache").source)
    for copy in (fetched, handed):
        assert copy.columns == source.columns and copy.subsets == source.subsets
        assert copy.root != source.root and not list(copy.root.glob("*.tar.gz"))
        assert all(np.array_equal(copy.image(i), source.image(i)) for i in range(12))


def test_folder_holds_its_images_in_sorted_order(animals):
    (animals / "cat" / "notes.txt").write_text("not an image")
    (animals / ".hidden").mkdir()
    source = folder(animals)
    assert source.columns == {"class": ("cat",) * 8 + ("dog",) * 6}
    assert list(source.paths) == sorted(source.paths)
    expected = np.asarray(Image.open(animals / "cat" / "003.png"))
    assert np.array_equal(source.image(3), expected)


def test_what_a_folder_passes_over_is_counted_and_named(animals):
    write_images(animals / "cat" / "more" / "yet", 3)
    write_images(animals / "dog" / "more", 2)
    (animals / "dog" / "notes.txt").write_text("not an image")
    (animals / "readme.md").write_text("not an image")
    (animals / ".ipynb_checkpoints").mkdir()
    (animals / "cat" / ".DS_Store").write_text("hidden")
    assert folder(animals).notices == (
        f"passed over in {animals}: 2 folder(s) with 5 files (cat/more; dog/more)",
        f"passed over in {animals}: 2 file(s) that are no images (dog/notes.txt; readme.md)",
    )


def test_a_folder_beside_train_and_test_is_named(tmp_path, animals):
    for name in ("train", "held_out", "val"):
        shutil.copytree(animals, tmp_path / "both" / name)
    (notice,) = folder(tmp_path / "both", train="train", test="held_out").notices
    assert notice.endswith("both: 1 folder(s) with 14 files (val)")


def test_a_plain_folder_has_nothing_to_tell(animals):
    assert folder(animals).notices == ()


def test_every_ending_is_one_that_pillow_reads():
    known = Image.registered_extensions()
    assert {known[ending] for ending in EXTENSIONS} <= Image.OPEN.keys()


@pytest.mark.parametrize("ending", [".jfif", ".JFIF", ".jpe", ".tga", ".pbm", ".apng"])
def test_pictures_of_other_endings_are_taken(animals, ending):
    kind = Image.registered_extensions()[ending.lower()]
    Image.new("1" if kind == "PPM" else "RGB", (9, 9)).save(animals / "cat" / f"one{ending}", kind)
    source = folder(animals)
    assert len(source) == 15 and not source.notices
    assert source.image(source.paths.index(f"cat/one{ending}")).shape == (9, 9, 3)


def test_folder_with_train_and_test(tmp_path, animals):
    root = tmp_path / "both"
    root.mkdir()
    animals.rename(root / "train")
    write_images(root / "held_out" / "cat", 2)
    source = folder(root, train="train", test="held_out")
    assert source.subsets == ("train",) * 14 + ("test",) * 2
    with pytest.raises(DataError, match="no folder 'trian'.*did you mean 'train'"):
        folder(root, train="trian", test="held_out")


def test_folder_fingerprint_follows_the_files(animals):
    before = folder(animals).fingerprint()
    assert folder(animals).fingerprint() == before
    os.utime(animals / "cat" / "000.png", ns=(1, 1))
    assert folder(animals).fingerprint() == before
    (animals / "dog" / "000.png").rename(animals / "dog" / "900.png")
    renamed = folder(animals).fingerprint()
    (animals / "dog" / "001.png").write_bytes((animals / "dog" / "002.png").read_bytes())
    assert len({before, renamed, folder(animals).fingerprint()}) == 3


def test_missing_and_empty_folders_are_refused(tmp_path, animals):
    with pytest.raises(DataError, match="is not a folder"):
        folder(tmp_path / "nowhere")
    (animals / "fish").mkdir()
    with pytest.raises(DataError, match="fish has no image"):
        folder(animals)
    with pytest.raises(DataError, match="no class folders"):
        folder(animals / "fish")


def test_unreadable_image_is_named(animals):
    (animals / "cat" / "000.png").write_bytes(b"\x89PNG but not really")
    source = folder(animals)
    with pytest.raises(DataError, match="cat/000.png"):
        source.image(0)
    with pytest.raises(DataError, match="cat/000.png"):
        list(read_squares(source, range(len(source)), ImageConfig(size=8)))


def test_truncated_image_is_named(animals):
    path = animals / "dog" / "005.png"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match="dog/005.png"):
        folder(animals).image(13)


def test_sixteen_bit_image_is_refused_rather_than_clipped(animals):
    Image.fromarray(np.full((9, 9), 40_000, dtype=np.uint16)).save(animals / "cat" / "000.png")
    with pytest.raises(DataError, match="8 bits"):
        folder(animals).image(0)


def test_links_out_of_the_folder_are_refused(tmp_path, animals):
    write_images(tmp_path / "private", 1)
    (animals / "cat" / "link.png").symlink_to(tmp_path / "private" / "000.png")
    with pytest.raises(DataError, match="leads out of"):
        folder(animals)
    (animals / "cat" / "link.png").unlink()
    (animals / "fish").symlink_to(tmp_path / "private")
    with pytest.raises(DataError, match="leads out of"):
        folder(animals)


@pytest.fixture
def people(tmp_path):
    """A table of four images with two label columns and a split column."""
    write_images(tmp_path / "faces", 4)
    rows = ["path,age,name,part"] + [f"faces/{i:03}.png,{'old' if i % 2 else 'young'},n{i},train" for i in range(4)]
    (tmp_path / "people.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "people.csv"


def test_table_has_every_other_column_as_label(people):
    source = table(people, split_column="part")
    assert source.columns == {"age": ("young", "old", "young", "old"), "name": ("n0", "n1", "n2", "n3")}
    assert source.subsets == ("train",) * 4
    assert source.image(2).shape == (10, 9, 3)
    assert set(table(people).columns) == {"age", "name", "part"}


def test_table_fingerprint_follows_labels_and_files(people):
    before = table(people).fingerprint()
    people.write_text(people.read_text().replace("young", "child"))
    assert table(people).fingerprint() != before


@pytest.mark.parametrize(
    ("change", "names", "message"),
    [
        (None, {"path_column": "paht"}, "'paht': allowed are path, age, name, part; did you mean 'path'"),
        (None, {"split_column": "parts"}, "did you mean 'part'"),
        (("young,n0,train", "young,n0,trian"), {"split_column": "part"}, "line 2.*did you mean 'train'"),
        (("faces/001.png", "../faces/001.png"), {}, "line 3.*must be relative"),
        (("faces/001.png", "/etc/hostname"), {}, "line 3.*must be relative"),
        (("faces/001.png", "C:\\\\x.png"), {}, "line 3.*must be relative"),
        (("faces/001.png", "faces/009.png"), {}, "line 3: no such image"),
        (("faces/001.png,old", ",old"), {}, "line 3: no value in column 'path'"),
        (("faces/001.png,old", "faces/001.png"), {}, "line 3: 3 values for 4 columns"),
        (("path,age,name", "path,age,age"), {}, "two columns of the same name"),
    ],
)
def test_each_fault_of_a_table_is_named(people, change, names, message):
    if change:
        people.write_text(people.read_text().replace(*change))
    with pytest.raises(DataError, match=message):
        table(people, **names)


def test_missing_and_empty_tables(people):
    with pytest.raises(DataError, match="no such file; did you mean 'people.csv'"):
        table(people.with_name("peple.csv"))
    people.write_text("path,age\n")
    with pytest.raises(DataError, match="no rows"):
        table(people)


def test_table_refuses_a_link_out_of_its_folder(tmp_path):
    write_images(tmp_path / "elsewhere", 1)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").symlink_to(tmp_path / "elsewhere" / "000.png")
    (tmp_path / "set" / "set.csv").write_text("path,label\na.png,x\n")
    with pytest.raises(DataError, match="leads out of"):
        table(tmp_path / "set" / "set.csv")


def test_center_crop_keeps_the_middle_and_squash_keeps_all():
    # Left third red, middle third green, right third blue.
    image = np.zeros((10, 30, 3), dtype=np.uint8)
    for channel in range(3):
        image[:, 10 * channel : 10 * channel + 10, channel] = 255
    cropped = to_square(image, ImageConfig(size=10, fit="center_crop"))
    assert (cropped == [0, 255, 0]).all()
    squashed = to_square(image, ImageConfig(size=9, fit="squash"))
    assert (squashed[:, 1] == [255, 0, 0]).all() and (squashed[:, 7] == [0, 0, 255]).all()


def resized_whole(image, size):
    height, width = image.shape[:2]
    scale = size / min(height, width)
    target = (max(size, round(width * scale)), max(size, round(height * scale)))
    left, top = (target[0] - size) // 2, (target[1] - size) // 2
    resized = np.asarray(Image.fromarray(image).resize(target, Image.Resampling.BILINEAR))
    return resized[top : top + size, left : left + size]


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(8, 40), st.integers(0, 9))
def test_what_is_kept_is_what_the_whole_picture_has_there(height, width, size, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    off = np.abs(to_square(image, ImageConfig(size=size)).astype(int) - resized_whole(image, size)).max()
    assert off <= (max(height, width) > 15.9 * min(height, width))


def test_a_very_long_picture_takes_no_memory(monkeypatch):
    sizes = []
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, size, *a, **k: sizes.append(size) or resize(self, size, *a, **k)
    )
    for shape in ((1, 100_000), (100_000, 1)):
        image = np.full((*shape, 3), 77, dtype=np.uint8)
        assert (to_square(image, ImageConfig(size=178)) == 77).all()
    assert sizes == [(178, 178)] * 2


@pytest.mark.parametrize("shape", [(1, 50), (50, 1), (8, 8), (7, 13), (33, 31)])
@pytest.mark.parametrize("fit", ["center_crop", "squash"])
def test_squares_have_the_size_and_keep_a_constant(shape, fit):
    image = np.full((*shape, 3), 77, dtype=np.uint8)
    square = to_square(image, ImageConfig(size=32, fit=fit))
    assert square.shape == (32, 32, 3) and square.dtype == np.uint8 and (square == 77).all()
