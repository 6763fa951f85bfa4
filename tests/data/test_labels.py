"""Class names to label numbers."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narl.config.pipeline import LabelSpec
from narl.core.errors import DataError
from narl.data.labels import encode_labels, natural_order, number_classes

NAMES = ("dog", "cat", "ship") * 3


def test_without_a_map_values_are_the_sorted_classes():
    values, labels = encode_labels(LabelSpec(name="kind"), {"class": NAMES})
    assert values == ("cat", "dog", "ship")
    assert labels.dtype == np.int64 and labels.tolist() == [1, 0, 2] * 3


def test_numbers_sort_by_value():
    names = tuple(str(n) for n in (10, 9, 2)) * 3
    assert encode_labels(LabelSpec(name="n"), {"class": names})[0] == ("2", "9", "10")
    names = ("a10", "a9", "b1") * 3
    assert encode_labels(LabelSpec(name="n"), {"class": names})[0] == ("a9", "a10", "b1")

    names = ("9" * 5000, "1" + "0" * 5000) * 3
    assert encode_labels(LabelSpec(name="n"), {"class": names})[0] == names[:2]


alike = st.lists(st.text("01a٣é", max_size=4), min_size=1, max_size=8, unique=True)


@given(alike, st.randoms(use_true_random=False))
def test_the_order_of_classes_is_total(names, random):
    shuffled = random.sample(names, len(names))
    assert number_classes(shuffled)[0] == number_classes(names)[0]
    assert len({repr(natural_order(name)) for name in names}) == len(names)


def test_classes_of_equal_value_have_one_order_in_every_process():
    code = "from narl.data.labels import number_classes; print(number_classes(['2', '1', '01', '001'])[0])"
    orders = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert orders == {"('001', '01', '1', '2')\n"}


def test_a_map_keeps_its_order():
    spec = LabelSpec(name="living", map={"thing": ["ship"], "animal": ["cat", "dog"]})
    values, labels = encode_labels(spec, {"class": NAMES})
    assert values == ("thing", "animal") and labels.tolist() == [1, 1, 0] * 3


def test_a_plain_string_is_short_for_the_column_of_that_name():
    spec = LabelSpec.model_validate("kind")
    assert spec == LabelSpec(name="kind", column="kind")
    assert encode_labels(spec, {"kind": NAMES, "age": NAMES[::-1]})[0] == ("cat", "dog", "ship")
    with pytest.raises(DataError, match="private: unknown column 'knid': allowed are kind, age; did you mean"):
        encode_labels(LabelSpec.model_validate("knid"), {"kind": NAMES, "age": NAMES}, key="private")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"column": "clas"}, "unknown column 'clas': allowed are class; did you mean 'class'"),
        ({"map": {"a": ["cat", "dgo"], "b": ["ship"]}}, "unknown class 'dgo'.*did you mean 'dog'"),
        ({"map": {"a": ["cat"], "b": ["ship"]}}, "class 'dog' is in no list"),
    ],
)
def test_labels_that_do_not_fit_are_refused(spec, message):
    with pytest.raises(DataError, match=message):
        encode_labels(LabelSpec(name="x", **spec), {"class": NAMES})


def test_too_few_values_or_images_are_refused():
    with pytest.raises(DataError, match="one value cat"):
        encode_labels(LabelSpec(name="x"), {"class": ("cat",) * 9})
    with pytest.raises(DataError, match="value 'dog' has 2 images, needs at least 3"):
        encode_labels(LabelSpec(name="x"), {"class": ("cat",) * 9 + ("dog",) * 2})
