"""`narl init` on folders and tables as people have them, and on what it must refuse."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from narl.cli.main import main
from narl.config.pipeline import TO_SORT, Pipeline
from narl.config.search_space import SearchSpace
from narl.core.errors import ConfigError
from narl.data.labelled import label
from narl.data.sources.rows import read_rows
from narl.evaluation.intervals import known_to
from narl.proposal import propose as proposing

COUNT = 120


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working folder with 120 distinct pictures in faces/; a network's features are not measured but made up."""
    monkeypatch.setenv("NARL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(proposing, "sigma_range", lambda images, clients: (1.5, 12.0))
    monkeypatch.chdir(tmp_path)
    write_pictures(Path("faces"), COUNT)
    return tmp_path


def write_pictures(folder: Path, count: int, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for i in range(count):
        Image.fromarray(random.integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(folder / f"{i:03}.png")


def write_table(columns: dict, *, name: str = "faces.csv", separator: str = ",", count: int = COUNT) -> None:
    """Columns are functions of the row's number."""
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, delimiter=separator)
        rows.writerow(["path", *columns])
        for i in range(count):
            rows.writerow([f"faces/{i:03}.png", *(value(i) for value in columns.values())])


def smiling(i):
    return "ny"[i % 2]


def sex(i):
    return "fm"[i // 2 % 2]


def person(i):
    return f"p{i // 4}"


def written(name: str = "faces") -> tuple[Pipeline, SearchSpace]:
    space = SearchSpace.load(f"search_spaces/{name}.yaml")
    assert space.pipeline == Pipeline.load(f"pipelines/{name}.yaml")
    return space.pipeline, space


def refusal(capsys, *argv: str) -> str:
    """The one line in which `narl init` refuses; nothing is written."""
    assert main(["init", *argv]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and shown.err.startswith("narl: ")
    assert not Path("pipelines").exists() and not Path("search_spaces").exists()
    return shown.err


# --- tables ---


@pytest.mark.parametrize("separator", list(",;\t|"))
def test_a_table_with_two_labels_a_person_and_columns_that_are_none(work, capsys, separator):
    columns = {
        "file name": lambda i: f"IMG {i}.JPG",
        "sex": sex,
        "smiling": smiling,
        "person_id": person,
        "score": lambda i: i / 7,
        "camera make": lambda i: "Leica",
        "mood": lambda i: "" if i == 5 else "ab"[i % 2],
    }
    write_table(columns, separator=separator)
    assert main(["init", "faces.csv"]) == 0
    pipeline, space = written()
    assert (pipeline.utility.column, pipeline.private.column) == ("smiling", "sex")
    assert pipeline.splits.group == "person_id"
    assert pipeline.image.size == 32
    shown = capsys.readouterr().out
    tested = len(label(pipeline).indices["test"])
    assert f"test {tested} images: an accuracy is known to ± {known_to(tested):.0f} points (95 %)" in shown
    for reason in ("another value in every row", "the same in every row", "no value in column 'mood'"):
        assert reason in " ".join(shown.split())
    assert "mobilenet_v3_small/12" in shown and "narl search search_spaces/faces.yaml" in shown


def test_persons_are_the_private_label_where_there_is_no_other(work):
    write_table({"smiling": smiling, "person": lambda i: f"p{i // 2 % 6}"})
    assert main(["init", "faces.csv"]) == 0
    pipeline, _ = written()
    assert (pipeline.utility.column, pipeline.private.column, pipeline.splits.group) == ("smiling", "person", None)


def test_what_the_useful_label_would_give_away_is_not_proposed(work):
    write_table({"sex": sex, "gender": lambda i: {"f": "female", "m": "male"}[sex(i)], "smiling": smiling})
    assert main(["init", "faces.csv"]) == 0
    pipeline, _ = written()
    assert (pipeline.utility.column, pipeline.private.column) == ("smiling", "sex")


def test_a_group_that_would_empty_a_split_is_given_up_and_said(work, capsys):
    write_table({"smiling": smiling, "digit": lambda i: i // 12, "site": lambda i: i // 40})
    assert main(["init", "faces.csv"]) == 0
    assert written()[0].splits.group is None
    assert "not column 'site'" in " ".join(capsys.readouterr().out.split())


def test_a_split_column_and_one_with_other_words(work, capsys):
    split = ("train", "train", "validation", "test")
    write_table({"smiling": smiling, "sex": sex, "part": lambda i: split[i // 4 % 4]})
    assert main(["init", "faces.csv"]) == 0
    assert written()[0].source.split_column == "part"
    write_table({"smiling": smiling, "sex": sex, "part": lambda i: split[i // 4 % 4].replace("validation", "val")})
    assert main(["init", "faces.csv", "--force"]) == 0
    assert written()[0].source.split_column is None
    assert "'part' is not used" in " ".join(capsys.readouterr().out.split())


def test_choices_of_ones_own(work):
    write_table({"smiling": smiling, "sex": sex, "person": person, "hat": lambda i: "abc"[i % 3]})
    argv = ["--utility", "sex", "--private", "hat", "--group", "person", "--image-size", "48", "--name", "mine"]
    assert main(["init", "faces.csv", *argv, "--out", "elsewhere"]) == 0
    pipeline = Pipeline.load("elsewhere/pipelines/mine.yaml")
    assert (pipeline.utility.column, pipeline.private.column, pipeline.splits.group) == ("sex", "hat", "person")
    assert pipeline.image.size == 48 and pipeline.source.csv == str(work / "faces.csv")


def test_what_lies_below_the_folder_is_named_relative_to_the_file(work):
    write_table({"smiling": smiling, "sex": sex})
    assert main(["init", "faces.csv"]) == 0
    assert "csv: ../faces.csv" in Path("pipelines/faces.yaml").read_text()


# --- folders ---


def test_a_folder_of_classes_has_to_be_sorted_first(work, capsys):
    for k, name in enumerate(["[red]cat", "big dog", "owl"]):
        write_pictures(Path("my animals") / name, 40, seed=k + 1)
    (work / "my animals" / "Thumbs.db").touch()
    (work / "my animals" / "owl" / "more").mkdir()
    assert main(["init", "my animals"]) == 0
    shown = capsys.readouterr().out
    assert "[red]cat" in shown and "Thumbs.db" in shown and "--utility-map" in shown
    path = Path("pipelines/my_animals.yaml")
    with pytest.raises(ConfigError, match=f"utility: '{TO_SORT}' is still in the map: move each class"):
        Pipeline.load(path)
    # As a person edits it: classes are moved, the line is deleted.
    text = path.read_text()
    text = text.replace("'yes': []", "furry: ['[red]cat', big dog]").replace("'no': []", "no: [owl]")
    start, end = text.index(f"    {TO_SORT}:"), text.index("# The private label")
    path.write_text(text[:start] + text[end:])
    pipeline, _ = written("my_animals")
    assert pipeline.utility.map == {"furry": ["[red]cat", "big dog"], "no": ["owl"]}


def test_a_map_on_the_command_line_runs_at_once(work):
    for k, name in enumerate(["cat", "dog", "owl"]):
        write_pictures(Path("animals") / name, 40, seed=k + 1)
    assert main(["init", "animals", "--utility-map", "furry=cat,dog", "feathered=owl"]) == 0
    pipeline, _ = written("animals")
    assert pipeline.utility.map == {"furry": ["cat", "dog"], "feathered": ["owl"]}
    assert (pipeline.utility.column, pipeline.private.column) == ("class", "class")


def test_train_and_test_folders(work):
    for part, count in (("Train", 40), ("val", 20)):
        for k, name in enumerate(["cat", "dog", "owl"]):
            write_pictures(Path("animals") / part / name, count, seed=k + 10 * count)
    assert main(["init", "animals"]) == 0
    text = Path("pipelines/animals.yaml").read_text()
    assert "train: Train, test: val" in text


# --- refusals ---


def test_few_images_are_refused_with_the_reason(work, capsys):
    write_table({"smiling": smiling, "sex": sex}, count=48)
    message = refusal(capsys, "faces.csv")
    assert (
        "48 image(s)" in message and "of 12 an accuracy is known to ± 25 points" in message and "100 images" in message
    )


def test_two_classes_alone_and_one_class(work, capsys):
    write_table({"kind": lambda i: "a"})
    assert "'kind' the same in every row" in refusal(capsys, "faces.csv")
    write_table({"kind": lambda i: "ab"[i % 2]})
    assert "'kind', of two classes" in refusal(capsys, "faces.csv")
    write_table({"name": lambda i: f"n{i}", "kind": lambda i: f"k{i // 2}"})
    message = refusal(capsys, "faces.csv")
    assert "'name' another value in every row" in message and "fewer than 10 images each" in message


def test_what_is_no_data(work, capsys):
    assert "no folder and no table" in refusal(capsys, "face.csv")
    assert "did you mean 'faces'" in refusal(capsys, "face")
    assert "but images: sort them" in refusal(capsys, "faces")
    Path("empty").mkdir()
    assert "expected <class>/<image>" in refusal(capsys, "empty")
    Path("binary.csv").write_bytes(bytes(range(256)))
    assert "binary.csv" in refusal(capsys, "binary.csv")
    Path("bare.csv").write_text("faces/000.png,cat\nfaces/001.png,dog\n")
    assert "must name the columns" in refusal(capsys, "bare.csv")
    Path("away.csv").write_text("file,kind\npictures/000.png,cat\n")
    assert "relative to the table's own folder" in refusal(capsys, "away.csv")
    Path("none.csv").write_text("a,b\n1,2\n")
    assert "no column names image files" in refusal(capsys, "none.csv")
    assert "is an address" in refusal(capsys, "s3://bucket/faces.csv")
    write_table({"smiling": smiling, "sex": sex}, name="faces/faces.csv")
    assert "give one of those" in refusal(capsys, ".") and refusal(capsys, "")


def test_options_that_do_not_fit(work, capsys):
    write_table({"smiling": smiling, "sex": sex, "person": person})
    assert "--private: unknown column 'sexx'" in refusal(capsys, "faces.csv", "--private", "sexx")
    assert "--utility and --private are both" in refusal(capsys, "faces.csv", "--utility", "sex", "--private", "sex")
    assert "--group and a label are both" in refusal(capsys, "faces.csv", "--private", "sex", "--group", "sex")
    assert "image.size" in refusal(capsys, "faces.csv", "--image-size", "4")
    assert "name" in refusal(capsys, "faces.csv", "--name", "../faces")
    assert "VALUE=CLASS" in refusal(capsys, "faces.csv", "--utility-map", "yes")
    assert "unknown class 'x'" in refusal(capsys, "faces.csv", "--utility", "sex", "--utility-map", "a=f", "b=x")


def test_a_picture_that_is_none(work, capsys):
    write_table({"smiling": smiling, "sex": sex})
    Path("faces/000.png").write_bytes(b"GIF89a")
    assert "cannot read the image" in refusal(capsys, "faces.csv")


def test_nothing_is_written_over(work, capsys):
    write_table({"smiling": smiling, "sex": sex})
    Path("search_spaces").mkdir()
    Path("search_spaces/faces.yaml").write_text("mine")
    assert main(["init", "faces.csv"]) == 2
    assert "--force" in capsys.readouterr().err
    assert Path("search_spaces/faces.yaml").read_text() == "mine" and not Path("pipelines").exists()
    assert main(["init", "faces.csv", "--force"]) == 0
    written()


# --- whatever columns and classes are called ---

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(columns=["0", "0\x850"], classes=["a", "b\u2028b"])
@given(columns=st.lists(NAMES, min_size=2, max_size=2), classes=st.lists(NAMES, min_size=2, max_size=5))
def test_what_is_written_is_read_back_whatever_things_are_called(work, capsys, columns, classes):
    def value(i):
        return classes[i % len(classes)]

    write_table({columns[0]: smiling, columns[1]: value})
    code = main(["init", "faces.csv", "--force"])
    shown = capsys.readouterr()
    assert code in (0, 2) and "\x1b" not in shown.out
    if code == 0 and TO_SORT not in Path("pipelines/faces.yaml").read_text():
        pipeline, space = written()
        assert {pipeline.utility.column, pipeline.private.column} <= set(columns_as_read())
        assert math.isclose(space.sigma.low, 1.5)


def columns_as_read() -> list[str]:
    return read_rows(Path("faces.csv"), "path")[0]
