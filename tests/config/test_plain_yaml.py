"""What files say, as a person means it; what is made to exhaust a reader is refused."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from narl.config.load import read_yaml
from narl.config.plain_yaml import DEEPEST, parse
from narl.config.search_space import SearchSpace
from narl.core.errors import ConfigError

# Of line ends other than \n PyYAML writes some that it does not read.
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
CONTENT = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
NUMBER_LIKE = st.from_regex(r"\A[-+0-9._:eExo]{1,8}\Z")


@given(CONTENT | NUMBER_LIKE | st.dictionaries(NUMBER_LIKE, NUMBER_LIKE))
def test_what_was_written_is_read(content):
    """Search spaces and bundles are written by PyYAML, which decides by YAML 1.1 what needs quotes."""
    assert parse(yaml.safe_dump(content, allow_unicode=True)) == content


@given(NUMBER_LIKE)
def test_a_number_is_what_python_takes_for_the_same_number(text):
    try:
        value = parse(f"key: {text}")["key"]
    except yaml.YAMLError:  # a colon or a dash that means something else there
        return
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        assert value == float(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:30", "1:30"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("2001-99-99", "2001-99-99"),
        ("no", "no"),
        ("true", True),
        ("~", None),
        ("-3", -3),
        ("1.", 1.0),
        (".5", 0.5),
        ("2.5e-3", 0.0025),
    ],
)
def test_words_and_numbers(text, value):
    found = parse(f"key: {text}")["key"]
    assert found == value and type(found) is type(value)


def test_merge_keys_and_aliases():
    text = "base: &base {a: 1, b: 2}\nmore: &more\n  <<: *base\n  b: 3\nmost:\n  <<: *more\n  c: 4\n"
    assert parse(text)["most"] == {"a": 1, "b": 3, "c": 4}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb: 2\na: 3", "key 'a' is given twice, line 3"),
        ("a: &x [*x]", "alias within what it stands for, line 1"),
        ("[" * (DEEPEST + 1), "nested deeper than 50 levels"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: !!int ''", "string index out of range"),
        ("a: " + "9" * 5000, "integer string conversion"),
        ("a: " + "x" * (1 << 20), "more than 1,048,576 characters"),
        ("? [1]\n: 2", "found unhashable key"),
    ],
)
def test_what_is_refused(text, reason):
    with pytest.raises(yaml.YAMLError, match=reason):
        parse(text)


@pytest.mark.parametrize("step", ["[{0}, {0}]", "[{0}]"])
def test_aliases_count_as_what_they_stand_for(step):
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} {step.format(f'*a{i - 1}')}" for i in range(1, 60)]
    with pytest.raises(yaml.YAMLError, match="aliases written out"):
        parse("\n".join(lines))


@given(st.binary(max_size=60) | st.text("{}[]:,-?&*!|>'\"#%@`<~= \n\t\\0aA1.x", max_size=40).map(str.encode))
def test_any_bytes_are_a_mapping_or_one_short_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        assert isinstance(read_yaml(path), dict)
    except ConfigError as error:
        assert len(str(error)) < 1000 and "\n" not in str(error)


def test_a_number_that_is_none_is_refused_in_the_words_of_the_file(tmp_path):
    space = (
        "name: s\npipeline: {name: p, source: {kind: digits}, utility: {name: u, map: {a: ['0'], b: ['1']}}, "
        "private: {name: digit}}\narchitectures: {resnet18: }\nsigma: 1\nlambda: 1e-3\ntime_budget_minutes: "
    )
    (tmp_path / "s.yaml").write_text(space + "1:30\n")
    with pytest.raises(ConfigError, match=r"time_budget_minutes: .*\(given: '1:30'\)"):
        SearchSpace.load(tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_text(space + "1_000\n")
    assert SearchSpace.load(tmp_path / "s.yaml").time_budget_minutes == 1000


def test_no_path_at_all():
    with pytest.raises(ConfigError, match="null byte"):
        read_yaml("a\0b")
