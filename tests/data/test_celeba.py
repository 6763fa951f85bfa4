"""CelebA in its official layout: attributes, splits, pixels, and one clear message for each fault."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from small_data import LOADERS, check_fault, check_missing_lists

from narl.config.load import build
from narl.config.pipeline import CelebASource, Pipeline
from narl.core.errors import DataError
from narl.data.dataset import open_dataset
from narl.data.handover import pack, unpack
from narl.data.labelled import label
from narl.data.sources import open_source

ATTRIBUTES = [
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
]
COUNT = 24
SIGNS = np.where(np.random.default_rng(0).random((COUNT, 40)) < 0.5, -1, 1)
SIGNS[:, ATTRIBUTES.index("Smiling")] = [1, -1] * 12
SIGNS[:, ATTRIBUTES.index("Male")] = [1, 1, -1, -1] * 6
PARTITION = [0] * 12 + [1] * 4 + [2] * 8


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    generator = np.random.default_rng(1)
    rows, parts = [], []
    for i in range(COUNT):
        name = f"{i + 1:06}.jpg"
        small = generator.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        Image.fromarray(small).resize((178, 218)).save(folder / "img_align_celeba" / name)
        rows.append(f"{name} " + " ".join(f"{sign:2}" for sign in SIGNS[i]))
        parts.append(f"{name} {PARTITION[i]}")
    header = [str(COUNT), " ".join(ATTRIBUTES) + " "]  # the released file has that blank
    (folder / "list_attr_celeba.txt").write_text("\n".join(header + rows) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return folder


def source(root):
    return open_source(CelebASource(kind="celeba", root=str(root)))


def pipeline(root, **changes):
    content = {
        "name": "celeba",
        "source": {"kind": "celeba", "root": str(root)},
        "utility": "Smiling",
        "private": "Male",
        "image": {"size": 178},
        "augment": {"flip": True, "color_jitter": 0.1},
        "beton": {"write_mode": "jpg", "jpeg_quality": 100},
    }
    return build(Pipeline, content | changes, "test")


def test_every_attribute_is_a_column_in_the_order_of_the_list(root):
    faces = source(root)
    assert list(faces.columns) == ATTRIBUTES and len(faces) == COUNT
    for i, attribute in enumerate(ATTRIBUTES):
        assert faces.columns[attribute] == tuple("yes" if sign == 1 else "no" for sign in SIGNS[:, i])
    assert faces.file(9) == root / "img_align_celeba" / "000010.jpg"
    assert faces.image(0).shape == (218, 178, 3)
    assert faces.fingerprint() == source(root).fingerprint()


def test_splits_are_the_official_ones(root):
    indices = label(pipeline(root)).indices
    assert indices["train"].tolist() == list(range(12))
    assert indices["validation"].tolist() == list(range(12, 16))
    assert indices["test"].tolist() == list(range(16, 24))


@pytest.mark.parametrize("loader", LOADERS)
def test_labels_of_any_two_attributes(root, tmp_path, loader):
    dataset = open_dataset(pipeline(root), splits=("train", "test"), loader=loader, cache_dir=tmp_path / "cache")
    assert dataset.utility_classes == dataset.private_classes == ("no", "yes")
    utility, private = dataset.labels("test")
    assert utility.tolist() == [1, 0] * 4 and private.tolist() == [1, 1, 0, 0] * 2
    bald, classes = dataset.column("test", "Bald")
    assert classes == ("no", "yes") and bald.dtype == torch.int64
    assert bald.tolist() == (SIGNS[16:, ATTRIBUTES.index("Bald")] == 1).astype(int).tolist()
    assert torch.equal(dataset.column("train", "Smiling")[0], dataset.labels("train")[0])
    with pytest.raises(DataError, match="unknown column 'Blad': .*did you mean 'Bald'"):
        dataset.column("test", "Blad")
    with pytest.raises(DataError, match="was not opened"):
        dataset.column("validation", "Bald")


def test_loaders_give_the_middle_of_the_images(root, tmp_path):
    epochs = []
    for loader in LOADERS:
        dataset = open_dataset(pipeline(root), loader=loader, cache_dir=tmp_path / "cache")
        (plain,) = dataset.loader("train", batch_size=99).epoch(0)
        (changed,) = dataset.loader("train", batch_size=99, augment=True).epoch(0)
        assert changed.images.shape == (12, 3, 178, 178) and not torch.equal(plain.images, changed.images)
        epochs.append(plain)
    middle = np.asarray(Image.open(root / "img_align_celeba" / "000001.jpg"))[20:198]
    assert np.array_equal(epochs[0].images[0].permute(1, 2, 0).numpy(), middle)
    for other in epochs[1:]:  # JPEG of quality 100
        assert (other.images.int() - epochs[0].images.int()).abs().float().mean() < 2
        assert torch.equal(other.utility, epochs[0].utility) and torch.equal(other.private, epochs[0].private)


def test_a_plain_string_is_short_for_a_column(root):
    long = pipeline(root, utility={"name": "Smiling", "column": "Smiling"})
    assert long == pipeline(root) and long.content_hash == pipeline(root).content_hash
    with pytest.raises(DataError, match="unknown column 'Smilling': allowed are 5_o_Clock.*did you mean 'Smiling'"):
        label(pipeline(root, utility="Smilling"))


LIST, PARTS = "list_attr_celeba.txt", "list_eval_partition.txt"


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "message"),
    [
        (LIST, r"\A24", "25", f"{LIST}, line 1: says '25' images, the file lists 24"),
        (LIST, r"\A24", "", f"{LIST}, line 1: says '' images"),
        (LIST, r" Young", "", f"{LIST}, line 2: expected 40 different attribute names, got 39 words"),
        (LIST, r" Young", " Male", f"{LIST}, line 2: expected 40 different attribute names"),
        (LIST, r"\A24\n.*\n", "24\n", f"{LIST}, line 2: expected 40 different attribute names, got 41"),
        (LIST, r"(000003.jpg) +-?1", r"\1", f"{LIST}, line 5: expected a file name and 40 values, found 40 words"),
        (LIST, r"000003.jpg.*", "", f"{LIST}, line 5: expected a file name and 40 values, found 0 words"),
        (LIST, r"(000003.jpg) +-?1", r"\1 0", f"{LIST}, line 5: 5_o_Clock_Shadow is '0', must be -1 or 1"),
        (LIST, r"000003.jpg", "000033.jpg", f"{LIST}, line 5: no such image .*000033.jpg"),
        (LIST, r"000003.jpg", "000002.jpg", f"{LIST}, line 5: '000002.jpg' is listed twice"),
        (LIST, r"000003.jpg", "../a.jpg", f"{LIST}, line 5: '../a.jpg' must be the name of a file directly in"),
        (LIST, r"000003.jpg", "/etc/hostname", f"{LIST}, line 5: '/etc/hostname' must be the name of a file"),
        (LIST, r"000003.jpg", "..", f"{LIST}, line 5: '..' must be the name of a file"),
        (LIST, r"(?s).*", "", f"{LIST}, line 2: expected 40 different attribute names, got 0"),
        (LIST, r"000024.jpg.*\n\Z", "", f"{LIST}, line 1: says '24' images, the file lists 23"),
        (PARTS, r"000024.jpg.*\n\Z", "", f"{PARTS}: lists 23 images, {LIST} has 24"),
        (PARTS, r"000003.jpg 0", "000003.jpg 3", f"{PARTS}, line 3: expected a file name and 0, 1 or 2"),
        (PARTS, r"000003.jpg 0", "000003.jpg", f"{PARTS}, line 3: expected a file name and 0, 1 or 2"),
        (PARTS, r"000003.jpg", "000004.jpg", f"{PARTS}, line 3: '000004.jpg' where {LIST} has '000003.jpg'"),
    ],
)
def test_each_fault_of_a_list_is_named(root, file, pattern, replacement, message):
    check_fault(source, root, file, pattern, replacement, message, "`root` must hold img_align_celeba/")


def test_missing_parts_are_named_with_what_to_do(root):
    check_missing_lists(source, root, (LIST, PARTS))
    (root / "img_align_celeba" / "000007.jpg").unlink()
    with pytest.raises(DataError, match=f"{LIST}, line 9: no such image .*000007.jpg.*https://"):
        source(root)
    (root / "img_align_celeba").rename(root / "images")
    with pytest.raises(DataError, match="img_align_celeba is not a folder; `root` must hold"):
        source(root)
    with pytest.raises(DataError, match="CelebA folder .* is not a folder; `root` must hold"):
        source(root / "nowhere")


def test_links_out_of_the_folder_are_refused(root, tmp_path):
    image = root / "img_align_celeba" / "000007.jpg"
    image.rename(tmp_path / "a.jpg")
    image.symlink_to(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="000007.jpg leads out of"):
        source(root)
    (root / "img_align_celeba").rename(tmp_path / "images")
    (root / "img_align_celeba").symlink_to(tmp_path / "images")
    with pytest.raises(DataError, match="img_align_celeba leads out of"):
        source(root)


def test_on_s3_and_handed_over_it_is_the_same(root, bucket, tmp_path):
    (root / "img_celeba.zip").write_bytes(b"large and not wanted")
    bucket.put_folder(root)
    fetched = open_source(CelebASource(kind="celeba", root=bucket.url()), tmp_path / "cache")
    package = pack(pipeline(root))
    handed = open_source(unpack(package.meta, package.chunks, tmp_path / "cache").source)
    for copy in (fetched, handed):
        assert copy.columns == source(root).columns and copy.subsets == source(root).subsets
        assert copy.image(5).tobytes() == source(root).image(5).tobytes()
        assert not list(copy.root.rglob("*.zip"))
    assert fetched.fingerprint() == handed.fingerprint()
