"""No picture on both sides of a split: named twice, equal byte for byte, or of one group."""

from __future__ import annotations

import hashlib
import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_data import digits_pipeline, folder_pipeline, write_images

from narl.config.load import build
from narl.config.pipeline import Pipeline, Splits
from narl.core.errors import ConfigError, DataError
from narl.data.groups import joined
from narl.data.labelled import label
from narl.data.sources import open_source
from narl.data.splits import SPLITS, split_indices

fractions = st.floats(0.05, 0.6)


@st.composite
def grouped(draw):
    count = draw(st.integers(6, 150))
    strata = draw(arrays(np.int64, count, elements=st.integers(0, 3)))
    groups = draw(arrays(np.int64, count, elements=st.integers(0, draw(st.integers(2, 60)))))
    return strata, groups


@given(grouped(), fractions, fractions, st.integers(0, 1000))
@settings(deadline=None)
def test_groups_stay_whole_and_nothing_is_lost(case, validation, test, seed):
    strata, groups = case
    config = Splits(validation=validation, test=test, seed=seed)
    parts = split_indices(strata, [None] * len(strata), config, groups)
    again = split_indices(strata, [None] * len(strata), config, groups)
    assert all(np.array_equal(parts[name], again[name]) for name in SPLITS)
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(strata)))
    of_split = [set(groups[parts[name]].tolist()) for name in SPLITS]
    assert sum(map(len, of_split)) == len(set(groups.tolist()))
    assert all(of_split) or len(set(groups.tolist())) < 3


@given(st.integers(0, 1000), st.integers(1, 4))
@settings(deadline=None, max_examples=30)
def test_fractions_and_proportions_are_met_within_a_group(seed, largest):
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(300), generator.integers(1, largest + 1, 300))
    strata = generator.integers(0, 3, 300)[groups]
    parts = split_indices(strata, [None] * len(groups), Splits(seed=seed, test=0.2, validation=0.25), groups)
    for name, share in (("test", 0.2), ("validation", 0.2), ("train", 0.6)):
        held = np.bincount(strata[parts[name]], minlength=3)
        assert (np.abs(held - share * np.bincount(strata, minlength=3)) <= 1.25 * largest).all()


@given(st.lists(arrays(np.int64, 12, elements=st.integers(0, 9)), min_size=1, max_size=3))
def test_a_joint_partition_is_the_finest_that_joins(partitions):
    joint = joined([np.unique(partition, return_inverse=True)[1] for partition in partitions])
    part_of = list(range(12))
    for _ in range(12):
        for partition in partitions:
            part_of = [min(part_of[j] for j in range(12) if partition[j] == partition[i]) for i in range(12)]
    assert [[a == b for b in joint] for a in joint] == [[a == b for b in part_of] for a in part_of]


def test_settings_that_are_left_out_change_no_hash():
    assert digits_pipeline().content_hash == "46e4218b4997"  # as in 0.2, so that its searches are resumed
    assert digits_pipeline(splits={"duplicates": "warn"}).content_hash == digits_pipeline(splits={}).content_hash
    others = {digits_pipeline(splits=s).content_hash for s in ({}, {"group": "class"}, {"duplicates": "group"})}
    assert len(others) == 3
    with pytest.raises(
        ConfigError, match="unknown value 'grop': allowed are refuse, warn, group; did you mean 'group'"
    ):
        digits_pipeline(splits={"duplicates": "grop"})


@pytest.mark.parametrize("splits", [{}, {"duplicates": "group"}, {"duplicates": "refuse"}])
def test_without_copies_splits_are_those_of_0_2(splits):
    limits = {"train_limit": 167, "validation_limit": 60, "test_limit": 73}
    labelled = label(digits_pipeline(splits=limits | splits))
    hashes = [hashlib.sha256(labelled.indices[name].astype("<i8").tobytes()).hexdigest()[:16] for name in SPLITS]
    assert hashes == ["66d7af9b23c56075", "0392fa22ffcb735b", "391e56651c85c0a2"]
    assert not labelled.notices and not labelled.doubts


@pytest.fixture
def people(tmp_path):
    """A table's pipeline by its rows and settings: 24 pictures `img/0.png` … of which any may be named."""
    write_images(tmp_path / "img", 24)

    def pipeline(rows, splits=None, **source) -> Pipeline:
        text = "\n".join(",".join(row) for row in [("path", "smiles", "sex", "person", "part"), *rows])
        (tmp_path / "people.csv").write_text(text)
        content = {
            "name": "people",
            "source": {"kind": "table", "csv": str(tmp_path / "people.csv"), **source},
            "utility": "smiles",
            "private": "sex",
            "splits": {"validation": 0.3, "test": 0.3, **(splits or {})},
            "image": {"size": 8},
        }
        return build(Pipeline, content, "test")

    return pipeline


def row(i, path=None, part="train"):
    return (path or f"img/{i:03}.png", "ny"[i % 2], "fm"[i // 2 % 2], f"p{i // 4}", part)


ROWS = [row(i) for i in range(24)]


@pytest.mark.parametrize("again", ["img/003.png", "./img/003.png", "img//003.png", "img/./003.png", "other/003.png"])
def test_a_picture_named_twice_is_refused_with_both_lines(people, tmp_path, again):
    (tmp_path / "other").symlink_to(tmp_path / "img")
    with pytest.raises(DataError, match=r"line 26: this picture was named before, .*people.csv, line 5"):
        label(people([*ROWS, row(3, again)]))
    with pytest.raises(DataError, match=r"line 26: .* line 5"):
        label(people([*ROWS, row(3, again, part="test")], split_column="part"))


def test_a_picture_linked_twice_in_a_folder_is_refused(animals):
    (animals / "dog" / "link.png").symlink_to(animals / "cat" / "001.png")
    with pytest.raises(DataError, match=r"dog/link.png: this picture was named before, .*cat/001.png"):
        label(folder_pipeline(animals))


def test_train_and_test_may_not_be_one_folder(animals, tmp_path):
    for name in ("train", "test"):
        (tmp_path / name).symlink_to(animals)
    source = {"kind": "image_folder", "root": str(tmp_path), "train": "train", "test": "test"}
    with pytest.raises(DataError, match="was named before"):
        label(folder_pipeline(animals, source=source))


def copy_some(tmp_path):
    """Eight pictures that are copies of others, of one size as all of them are."""
    for i in range(8):
        shutil.copyfile(tmp_path / "img" / f"{i:03}.png", tmp_path / "img" / f"{i + 12:03}.png")


def test_copies_are_counted_and_a_doubt(people, tmp_path):
    copy_some(tmp_path)
    labelled = label(people(ROWS))
    (doubt,) = labelled.doubts
    assert doubt.startswith("8 of 24 images are copies of others, byte for byte; of ")
    assert "people.csv, line" in doubt and not labelled.notices
    with pytest.raises(DataError, match="splits.duplicates is refuse: 8 of 24 images"):
        label(people(ROWS, {"duplicates": "refuse"}))


def test_copies_are_kept_together(people, tmp_path):
    copy_some(tmp_path)
    labelled = label(people(ROWS, {"duplicates": "group"}))
    split_of = {int(i): name for name in SPLITS for i in labelled.indices[name]}
    assert all(split_of[i] == split_of[i + 12] for i in range(8)) and len(split_of) == 24
    assert labelled.notices == (
        "8 of 24 images are copies of others, byte for byte, each in the split of what it copies",
    )
    assert not labelled.doubts


def test_hard_links_are_copies(people, tmp_path):
    (tmp_path / "img" / "020.png").unlink()
    os.link(tmp_path / "img" / "001.png", tmp_path / "img" / "020.png")
    told = label(people(ROWS))
    assert "1 of 24 images are copies" in str(told.doubts + told.notices)


def test_copies_that_a_source_brings_in_two_splits_cannot_be_grouped(people, tmp_path):
    copy_some(tmp_path)
    parts = ["train", "test", "validation"]
    rows = [row(i, part=parts[i // 4 % 3 if i < 12 else (i // 4 + 1) % 3]) for i in range(24)]
    assert label(people(rows, split_column="part")).doubts
    with pytest.raises(DataError, match="duplicates is group: 8 of 24 .*these splits are the source's own"):
        label(people(rows, {"duplicates": "group"}, split_column="part"))


def test_a_person_stays_in_one_split(people):
    rows = [(path, smiles, sex, f"p{i // 3}", part) for i, (path, smiles, sex, _, part) in enumerate(ROWS)]
    labelled = label(people(rows, {"group": "person", "seed": 3}))
    persons = labelled.source.columns["person"]
    of_split = [{persons[i] for i in labelled.indices[name]} for name in SPLITS]
    assert sum(map(len, of_split)) == 8 and set.union(*of_split) == set(persons)


def test_a_person_in_two_splits_of_the_source_is_refused(people):
    rows = [row(i, part=["train", "test", "validation"][i % 3]) for i in range(24)]
    with pytest.raises(DataError, match=r"splits.group: person 'p0' is in two splits .*line 2\) and .*line"):
        label(people(rows, {"group": "person"}, split_column="part"))
    with pytest.raises(DataError, match="splits.group: unknown column 'persn'.*did you mean 'person'"):
        label(people(ROWS, {"group": "persn"}))


def test_sources_without_files_tell_copies_too():
    source = open_source(digits_pipeline().source)
    assert len({source.digest(i) for i in range(len(source))}) == len(source) == 1797
    assert source.where(3) == "image 3"
