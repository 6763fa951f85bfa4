"""Tables as spreadsheets and programs write them: one table in many spellings is one source."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_data import write_images

from narl.config.load import build, read_yaml
from narl.config.pipeline import LabelSpec, TableSource
from narl.core.errors import DataError
from narl.data.labels import encode_labels
from narl.data.sources import open_source

ROWS = [["path", "smiles", "note"], *([f"faces/{i:03}.png", "ny"[i % 2], f"a, b; {i}"] for i in range(6))]


@pytest.fixture
def table(tmp_path):
    """A source of the bytes of a table."""
    write_images(tmp_path / "faces", 6)

    def table(content: bytes | str, **names):
        (tmp_path / "t.csv").write_bytes(content.encode() if isinstance(content, str) else content)
        return open_source(TableSource(kind="table", csv=str(tmp_path / "t.csv"), **names), tmp_path / "cache")

    return table


def written(rows=ROWS, **how) -> str:
    text = io.StringIO()
    csv.writer(text, **({"lineterminator": "\n"} | how)).writerows(rows)
    return text.getvalue()


def as_windows(rows):
    return [[row[0].replace("/", "\\"), *row[1:]] for row in rows]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    separator=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    trailing=st.integers(0, 3),
    index=st.booleans(),
    windows=st.booleans(),
    empty=st.lists(st.integers(1, 6), max_size=3),
)
def test_one_table_in_any_spelling_is_one_source(
    table, separator, end, quoting, encoding, trailing, index, windows, empty
):
    plain = table(written())
    rows = as_windows(ROWS) if windows else ROWS
    if index:  # as pandas writes it: a column without a name
        rows = [["" if i == 0 else str(i), *row] for i, row in enumerate(rows)]
    rows = [row + [""] * trailing for row in rows]
    for at in empty:
        rows = [*rows[:at], [""] * len(rows[0]), *rows[at:]]
    text = written(rows, delimiter=separator, lineterminator=end, quoting=quoting)
    source = table(text.encode(encoding))
    assert (source.paths, source.columns, source.subsets) == (plain.paths, plain.columns, plain.subsets)
    assert source.fingerprint() == plain.fingerprint()


def test_only_the_header_may_be_longer(table):
    assert table("path,a,,\nfaces/000.png,x\nfaces/001.png,y,\n").columns == {"a": ("x", "y")}
    with pytest.raises(DataError, match="line 3: 3 values for 2 columns, separated by semicolons"):
        table("path;a\nfaces/000.png;x\nfaces/001.png;y;z\n")
    with pytest.raises(DataError, match="line 2: 1 values for 2 columns, separated by commas"):
        table("path,a\nfaces/000.png\n")


def test_a_separator_that_is_none_is_told(table):
    with pytest.raises(DataError, match="unknown column 'path'.*separated by one of commas, semicolons, tabs, bars"):
        table("path:a\nfaces/000.png:x\n")


def test_another_encoding_is_told_with_its_line(table):
    with pytest.raises(DataError, match="line 3 is not utf-8: save it as UTF-8"):
        table("path,a\nfaces/000.png,x\nfaces/001.png,caf\u00e9\n".encode("latin-1"))


def test_a_backslash_that_is_in_a_name_stays(table, tmp_path):
    (tmp_path / "faces" / "000.png").rename(tmp_path / "faces\\000.png")
    assert table("path,a\nfaces\\000.png,x\n").paths == ("faces\\000.png",)


@pytest.mark.parametrize("path", ["..\\x.png", "faces\\..\\..\\x.png", "C:\\x.png", "\\\\host\\share\\x.png"])
def test_windows_paths_may_not_lead_out_either(table, path):
    with pytest.raises(DataError, match="line 2: path .* must be relative"):
        table(f"path,a\n{path},x\n")


@pytest.mark.parametrize(
    ("classes", "in_map"),
    [
        (["TRUE", "FALSE"], "yes: [TRUE], no: [FALSE]"),
        (["True", "False"], "yes: [true], no: [false]"),
        (["true", "false"], "yes: ['true'], no: [False]"),
        (["0", "1"], "yes: [0], no: [1]"),
        (["0.0", "1.0"], "yes: [0], no: [1]"),
        (["0", "1"], "yes: [0.0], no: [1.0]"),
        (["0.5", "1.5"], "yes: [0.5], no: [1.5]"),
    ],
)
def test_a_map_needs_no_quotes(tmp_path, classes, in_map):
    (tmp_path / "label.yaml").write_text(f"{{name: x, column: a, map: {{{in_map}}}}}")
    spec = build(LabelSpec, read_yaml(tmp_path / "label.yaml"), "test")
    assert encode_labels(spec, {"a": classes * 3})[1].tolist() == [0, 1] * 3


def test_values_of_a_map_need_no_quotes_either():
    spec = build(LabelSpec, {"name": "x", "map": {0: ["a"], True: ["b"]}}, "test")
    assert encode_labels(spec, {"class": ["a", "b"] * 3})[0] == ("0", "true")


def test_what_a_map_may_mean_twice_is_refused():
    spec = LabelSpec(name="x", column="a", map={"one": ["1"], "two": ["2"]})
    with pytest.raises(DataError, match="unknown class '1'"):
        encode_labels(spec, {"a": ["01", "1.0", "2"] * 3})
