"""What a table's columns say: missing values are no class, one name has one form, and the classes are shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import digits_pipeline, folder_pipeline, write_images

from narl.config.load import build
from narl.config.pipeline import LabelSpec, Pipeline
from narl.core.errors import ConfigError, DataError
from narl.data.class_counts import class_lines
from narl.data.dataset import open_dataset
from narl.data.label_words import MISSING
from narl.data.labelled import label

WORDS = ["nan", "NaN", "NA", "None", "null", "NULL", "N/A", "n/a", "?", "<NA>", "-", " ", "", "NaT", "#N/A"]


@pytest.fixture
def faces(tmp_path):
    """A table's pipeline by the values of its label column `smiles`, 24 of them."""
    write_images(tmp_path / "img", 24)

    def pipeline(values, **changes) -> Pipeline:
        rows = [f"img/{i:03}.png,{value},{'ab'[i // 3 % 2]},x{i // 12}" for i, value in enumerate(values)]
        (tmp_path / "faces.csv").write_text("\n".join(["path,smiles,sex,other", *rows]) + "\n")
        content = {
            "name": "faces",
            "source": {"kind": "table", "csv": str(tmp_path / "faces.csv")},
            "utility": "smiles",
            "private": "sex",
            "splits": {"validation": 0.25, "test": 0.25},
            "image": {"size": 8},
        }
        return build(Pipeline, content | changes, "test")

    return pipeline


def with_some(word, values="ny"):
    return [word if i % 4 == 3 else values[i % 2] for i in range(24)]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_for_a_missing_value_is_refused_with_its_line(faces, word):
    assert word.strip().casefold() in MISSING
    with pytest.raises(DataError, match=r"faces.csv, line 5: .*column 'smiles', and .* is no class \(6 rows"):
        label(faces(with_some(word)))


@pytest.mark.parametrize("word", WORDS)
def test_a_word_that_the_map_names_is_a_class(faces, word):
    spec = {"name": "s", "column": "smiles", "map": {"yes": ["y"], "no": ["n"], "unknown": [word.strip()]}}
    assert label(faces(with_some(word), utility=spec)).utility_classes == ("yes", "no", "unknown")


def test_a_gap_in_a_column_that_nobody_uses_is_no_matter_until_somebody_does(faces):
    other = {"utility": "sex", "private": "other"}
    dataset = open_dataset(faces(with_some(""), **other), ("train", "validation", "test"), "tensor")
    assert dataset.column("train", "other")[1] == ("x0", "x1")
    with pytest.raises(DataError, match="line 5: no value in column 'smiles'"):
        dataset.column("train", "smiles")
    with pytest.raises(DataError, match="line 5: no value in column 'smiles'"):
        label(faces(with_some(""), splits={"group": "smiles"}, **other))


def test_a_folder_may_have_such_a_name(tmp_path):
    write_images(tmp_path / "set" / "none", 6, seed=1)
    write_images(tmp_path / "set" / "mask", 6, seed=2)
    assert label(folder_pipeline(tmp_path / "set")).utility_classes == ("mask", "none")


@pytest.mark.parametrize(("one", "other"), [("1", "1.0"), ("0.5", ".50"), ("10", "1e1"), ("1", "+1"), ("1.0", "1.00")])
def test_one_number_in_two_spellings_is_refused_with_both_lines(faces, one, other):
    values = [one, other, "7"] * 8
    with pytest.raises(DataError, match=r"line 3: .*column 'smiles' is the number that is spelled .* line 2"):
        label(faces(values))
    spec = {"name": "s", "column": "smiles", "map": {"one": [one, other], "seven": ["7"]}}
    assert label(faces(values, utility=spec)).utility_classes == ("one", "seven")


def test_numbers_with_leading_zeros_are_names(faces):
    assert label(faces(["1", "01", "2"] * 8)).utility_classes == ("01", "1", "2")


def test_a_name_is_one_class_in_either_form(faces, tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    labelled = label(faces([composed, decomposed, "bar"] * 8))
    assert labelled.utility_classes == ("bar", composed)
    spec = {"name": "s", "column": "smiles", "map": {"x": [decomposed], "y": ["bar"]}}
    assert label(faces([composed, decomposed, "bar"] * 8, utility=spec)).class_counts["utility"].keys() == {"x", "y"}
    for seed, name in enumerate((composed, decomposed, "bar")):
        write_images(tmp_path / "set" / name, 6, seed=seed)
    assert label(folder_pipeline(tmp_path / "set")).utility_classes == ("bar", composed)
    with pytest.raises(ConfigError, match="is in both"):
        build(LabelSpec, {"name": "s", "map": {"x": [composed], "y": [decomposed]}}, "test")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text("ea\u0301\u00e9\u00e1\u030a", min_size=1, max_size=3), min_size=2, max_size=6))
def test_a_map_finds_a_class_in_any_form(names):
    from narl.data.labels import encode_labels

    classes = sorted({unicodedata.normalize("NFC", name) for name in names})
    if len(classes) < 2:
        return
    spec = LabelSpec(name="s", map={name: [unicodedata.normalize("NFD", name)] for name in classes})
    assert encode_labels(spec, {"class": classes * 3})[1].tolist() == [*range(len(classes))] * 3


def test_classes_are_told_with_their_images_by_split(faces):
    labelled = label(faces(["n", "y", "y"] * 8))
    assert labelled.class_counts["utility"] == {
        "n": {"train": 4, "validation": 2, "test": 2},
        "y": {"train": 8, "validation": 4, "test": 4},
    }
    assert labelled.told == [
        "utility classes, images of train + validation + test: 'n' 4 + 2 + 2, 'y' 8 + 4 + 4",
        *class_lines({"private": labelled.class_counts["private"]}),
    ]
    for label_name, classes in labelled.class_counts.items():
        assert sum(sum(by_split.values()) for by_split in classes.values()) == 24, label_name


def test_of_many_classes_some_are_shown():
    counts = {"private": {f"p{i}": {"train": i, "validation": 1, "test": 1} for i in range(500)}}
    (line,) = class_lines(counts)
    assert line.endswith("'p11' 11 + 1 + 1, … 500 classes in all, of 2 to 501 images")


def test_digits_have_their_ten_classes():
    counts = label(digits_pipeline()).class_counts
    assert list(counts["private"]) == list("0123456789") and list(counts["utility"]) == ["even", "odd"]
