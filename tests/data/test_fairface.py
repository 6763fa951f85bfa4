"""FairFace in its official layout: columns, splits, pixels, and one clear message for each fault."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from small_data import LOADERS, check_fault, check_missing_lists

from narl.config.load import build
from narl.config.pipeline import FairFaceSource, Pipeline
from narl.core.errors import DataError
from narl.data.dataset import open_dataset
from narl.data.handover import pack, unpack
from narl.data.labelled import label
from narl.data.sources import open_source

GENDERS, RACES, AGES = ("Male", "Female"), ("White", "Black", "East Asian"), ("more than 70", "3-9", "20-29")
TRAIN, VAL = "fairface_label_train.csv", "fairface_label_val.csv"


@pytest.fixture
def root(tmp_path):
    """24 images to train and 12 to validate, of two genders and three races."""
    folder = tmp_path / "fairface"
    generator = np.random.default_rng(1)
    for part, count in (("train", 24), ("val", 12)):
        (folder / part).mkdir(parents=True)
        rows = ["file,age,gender,race,service_test"]
        groups = itertools.cycle(itertools.product(GENDERS, RACES))
        for i, (gender, race) in zip(range(1, count + 1), groups, strict=False):
            small = generator.integers(0, 256, (6, 5, 3), dtype=np.uint8)
            Image.fromarray(small).resize((224, 224)).save(folder / part / f"{i}.jpg")
            rows.append(f"{part}/{i}.jpg,{AGES[i % 3]},{gender},{race},{i % 2 == 1}")
        (folder / f"fairface_label_{part}.csv").write_text("\n".join(rows) + "\n")
    return folder


def source(root):
    return open_source(FairFaceSource(kind="fairface", root=str(root)))


def pipeline(root, **changes):
    content = {
        "name": "fairface",
        "source": {"kind": "fairface", "root": str(root)},
        "utility": "gender",
        "private": "race",
        "image": {"size": 178, "fit": "squash"},
        "beton": {"write_mode": "jpg", "jpeg_quality": 100},
    }
    return build(Pipeline, content | changes, "test")


def test_columns_and_subsets(root):
    faces = source(root)
    assert list(faces.columns) == ["age", "gender", "race", "service_test"] and len(faces) == 36
    assert faces.columns["race"][:3] == RACES and faces.columns["service_test"][:2] == ("True", "False")
    assert faces.subsets == ("train",) * 24 + ("test",) * 12
    assert faces.file(0) == root / "train" / "1.jpg" and faces.file(24) == root / "val" / "1.jpg"
    assert faces.fingerprint() == source(root).fingerprint()


def test_validation_is_cut_from_the_training_images(root):
    indices = label(pipeline(root)).indices
    assert indices["test"].tolist() == list(range(24, 36))
    assert sorted([*indices["train"], *indices["validation"]]) == list(range(24))
    assert len(indices["validation"]) >= 6  # one of each of six groups


@pytest.mark.parametrize("loader", LOADERS)
def test_labels_and_pixels(root, tmp_path, loader):
    dataset = open_dataset(pipeline(root), splits=("test",), loader=loader, cache_dir=tmp_path / "cache")
    assert dataset.utility_classes == ("Female", "Male")
    assert dataset.private_classes == ("Black", "East Asian", "White")
    utility, private = dataset.labels("test")
    assert utility.tolist() == [1, 1, 1, 0, 0, 0] * 2 and private.tolist() == [2, 0, 1] * 4
    ages, classes = dataset.column("test", "age")
    assert classes == ("3-9", "20-29", "more than 70") and ages.tolist() == [0, 1, 2] * 4
    with pytest.raises(DataError, match="unknown column 'rase': allowed are age, gender, race.*did you mean 'race'"):
        dataset.column("test", "rase")
    (batch,) = dataset.loader("test", batch_size=99).epoch(0)
    expected = Image.open(root / "val" / "1.jpg").resize((178, 178), Image.Resampling.BILINEAR)
    difference = (batch.images[0].permute(1, 2, 0).int() - torch.from_numpy(np.array(expected)).int()).abs()
    assert difference.max() == 0 if loader == "tensor" else difference.float().mean() < 2


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "message"),
    [
        (TRAIN, "service_test", "test", f"{TRAIN}, line 1: expected file,age,gender,race,service_test, got file,age"),
        (VAL, "file,age", "age,file", f"{VAL}, line 1: expected file,age"),
        (TRAIN, "(?s)\n.*", "", f"{TRAIN} lists no images"),
        (TRAIN, "(?s).*", "", f"{TRAIN}, line 1: expected file,age"),
        (TRAIN, "(2.jpg.*),.*", r"\1", f"{TRAIN}, line 3: 4 values for 5 columns"),
        (TRAIN, "train/2.jpg.*", "", f"{TRAIN}, line 3: 0 values for 5 columns"),
        (TRAIN, "Female", "Femal", f"{TRAIN}, line 5: unknown gender 'Femal'.*did you mean 'Female'"),
        (VAL, "East Asian", "East_Asian", f"{VAL}, line 4: unknown race .*did you mean 'East Asian'"),
        (VAL, "3-9", "9-Mar", f"{VAL}, line 2: unknown age '9-Mar'"),
        (VAL, "True", "TRUE", f"{VAL}, line 2: unknown service_test 'TRUE'"),
        (VAL, "val/2.jpg", "train/2.jpg", f"{VAL}, line 3: path 'train/2.jpg' must be val/<image>"),
        (VAL, "val/2.jpg", "/etc/hostname", f"{VAL}, line 3: path '/etc/hostname' must be val/<image>"),
        (VAL, "val/2.jpg", "val/../a.jpg", f"{VAL}, line 3: '../a.jpg' must be the name of a file directly in"),
        (VAL, "val/2.jpg", "val/99.jpg", f"{VAL}, line 3: no such image .*val/99.jpg"),
        (VAL, "val/2.jpg", "val/1.jpg", f"{VAL}, line 3: '1.jpg' is listed twice"),
    ],
)
def test_each_fault_of_a_list_is_named(root, file, pattern, replacement, message):
    check_fault(source, root, file, pattern, replacement, message, "`root` must hold train/")


def test_missing_parts_are_named_with_what_to_do(root):
    check_missing_lists(source, root, (TRAIN, VAL))
    (root / "val" / "7.jpg").unlink()
    with pytest.raises(DataError, match=f"{VAL}, line 8: no such image .*val/7.jpg"):
        source(root)
    (root / "val").rename(root / "validation")
    with pytest.raises(DataError, match="val is not a folder; `root` must hold"):
        source(root)
    with pytest.raises(DataError, match="FairFace folder .* is not a folder; `root` must hold"):
        source(root / "nowhere")


def test_on_s3_and_handed_over_it_is_the_same(root, bucket, tmp_path):
    bucket.put_folder(root)
    fetched = open_source(FairFaceSource(kind="fairface", root=bucket.url()), tmp_path / "cache")
    package = pack(pipeline(root))
    handed = open_source(unpack(package.meta, package.chunks, tmp_path / "cache").source)
    for copy in (fetched, handed):
        assert copy.columns == source(root).columns and copy.subsets == source(root).subsets
        assert copy.image(30).tobytes() == source(root).image(30).tobytes()
