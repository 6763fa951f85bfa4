"""Splits: deterministic, disjoint, covering, stratified, and true to what the source decides itself."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import digits_pipeline, folder_pipeline, write_images

from narl.config.pipeline import Splits
from narl.core.errors import DataError
from narl.data.labelled import label
from narl.data.splits import SPLITS, split_indices

strata_lists = st.lists(st.integers(0, 5), min_size=1, max_size=200).map(np.array)
fractions = st.floats(0.05, 0.6)


def counts(strata, chosen):
    return np.bincount(strata[chosen], minlength=6)


@given(strata_lists, fractions, fractions, st.integers(0, 1000))
def test_disjoint_covering_deterministic_and_stratified(strata, validation, test, seed):
    config = Splits(validation=validation, test=test, seed=seed)
    parts = split_indices(strata, [None] * len(strata), config)
    again = split_indices(strata, [None] * len(strata), config)
    assert all(np.array_equal(parts[name], again[name]) for name in SPLITS)
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(strata)))
    whole = counts(strata, np.arange(len(strata)))
    held_out = counts(strata, parts["test"])
    # Each stratum gives its fraction, rounded, but leaves two to the other splits and gives one if it has three.
    assert (np.abs(held_out - test * whole)[whole >= 5] <= 1).all()
    assert (held_out[whole < 3] == 0).all()
    rest = whole - held_out
    assert (np.abs(counts(strata, parts["validation"]) - validation * rest) <= 1).all()
    for name in SPLITS:
        assert (counts(strata, parts[name])[whole >= 3] >= 1).all()


@given(strata_lists, st.integers(1, 150), st.integers(0, 1000))
def test_a_limit_is_met_exactly_and_in_proportion(strata, limit, seed):
    subsets = ["train"] * len(strata) + ["validation", "test"]
    strata = np.append(strata, [0, 0])
    parts = split_indices(strata, subsets, Splits(train_limit=limit, seed=seed))
    train, whole = parts["train"], np.arange(len(strata) - 2)
    assert len(train) == min(limit, len(whole)) == len(set(train.tolist()))
    expected = counts(strata, whole) * len(train) / len(whole)
    assert (np.abs(counts(strata, train) - expected) < 1 + 1e-6).all()


@given(st.lists(st.sampled_from(["train", "test"]), min_size=30, max_size=80), st.integers(0, 9))
def test_what_the_source_holds_out_stays_held_out(subsets, seed):
    subsets = subsets + ["train"] * 10 + ["test"]
    strata = np.arange(len(subsets)) % 3
    parts = split_indices(strata, subsets, Splits(seed=seed))
    assert parts["test"].tolist() == [i for i, subset in enumerate(subsets) if subset == "test"]
    assert len(parts["validation"]) and not set(parts["validation"]) & set(parts["test"])
    assert len(parts["train"]) + len(parts["validation"]) == subsets.count("train")


def test_a_complete_split_is_taken_as_it_is():
    subsets = ["train", "test", "validation", "train", "validation", "test"]
    parts = split_indices(np.zeros(6, dtype=int), subsets, Splits())
    assert {name: part.tolist() for name, part in parts.items()} == {
        "train": [0, 3],
        "validation": [2, 4],
        "test": [1, 5],
    }


def test_seeds_differ():
    strata = np.arange(100) % 4
    first, second = (split_indices(strata, [None] * 100, Splits(seed=seed))["test"] for seed in (0, 1))
    assert not np.array_equal(first, second)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 99))
def test_digits_keep_both_labels_in_proportion(seed):
    labelled = label(digits_pipeline(splits={"seed": seed, "validation": 0.25, "test": 0.2}))
    for split, share in (("test", 0.2), ("validation", 0.2), ("train", 0.6)):
        _, private = labelled.labels(split)
        whole = np.bincount(labelled.private)
        assert np.abs(np.bincount(private) - share * whole).max() <= 2


def test_a_value_without_an_image_in_a_split_is_refused():
    with pytest.raises(DataError, match="private: value '.' has no image among the 5 of the validation split"):
        label(digits_pipeline(splits={"validation_limit": 5}))


def test_a_class_of_the_test_folder_alone_is_refused(tmp_path):
    for name in ("cat", "dog"):
        write_images(tmp_path / "train" / name, 6)
        write_images(tmp_path / "test" / name, 3)
    write_images(tmp_path / "test" / "fish", 3)
    source = {"kind": "image_folder", "root": str(tmp_path), "train": "train", "test": "test"}
    with pytest.raises(DataError, match="'fish' has no image.*train split"):
        label(folder_pipeline(tmp_path, source=source))


def test_the_key_follows_settings_and_files(animals):
    keys = {label(folder_pipeline(animals)).key}
    keys.add(label(folder_pipeline(animals, image={"size": 9})).key)
    keys.add(label(folder_pipeline(animals, splits={"seed": 1})).key)
    write_images(animals / "dog", 7)
    keys.add(label(folder_pipeline(animals)).key)
    assert len(keys) == 4
    assert label(folder_pipeline(animals, loader="tensor", name="other")).key in keys


PINNED = {
    "drawn": "6b7760ede56c0d25",
    "limited": "fc8f0b14a179ce0c",
    "given": "81ca116c8b8e7161",
    "grouped": "826e4394b73a93c8",
}


@pytest.mark.parametrize("case", PINNED)
def test_no_version_moves_an_image_to_another_split(case):
    """Numbers of two versions are about the same images only if this holds; never change a hash."""
    strata = np.arange(1000) * 7919 % 13 % 6
    subsets = [["train", "validation", "test"][i % 3] if case == "given" else None for i in range(1000)]
    limits = {"train_limit": 200, "validation_limit": 50, "test_limit": 100} if case in ("limited", "given") else {}
    groups = np.arange(1000) * 31 % 170 if case == "grouped" else None
    parts = split_indices(strata, subsets, Splits(seed=3, **limits), groups)
    text = ";".join(f"{name} {','.join(map(str, parts[name]))}" for name in SPLITS)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == PINNED[case]
