"""A search whose folder and images were moved goes on if they are the same images, and says where others lie."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import yaml
from example_records import make_record
from PIL import Image

from narl.cli.main import main
from narl.config.search_space import SearchSpace
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger

SPACE = {
    "name": "moved",
    "pipeline": {
        "name": "pictures",
        "source": {"kind": "image_folder", "root": "images"},
        "utility": {"name": "animal"},
        "private": {"name": "animal"},
        "splits": {"validation": 0.25, "test": 0.25, "seed": 0},
        "loader": "tensor",
    },
    "architectures": {"mobilenet_v3_small": {"split_points": [12]}},
    "sigma": [1, 2],
    "lambda": 0.01,
    "trials": 1,
    "sampler": "random",
}


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A folder in which a search of pictures has had all its trials; all lies in `before`."""
    before = tmp_path / "before"
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (before / "images" / name).mkdir(parents=True)
        for i in range(12):
            pixels = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(before / "images" / name / f"{i}.png")
    (before / "moved.yaml").write_text(yaml.safe_dump(SPACE))
    monkeypatch.chdir(before)
    monkeypatch.delenv("NARL_RUNS", raising=False)
    folder = SearchFolder(before / "narl-runs" / "moved")
    folder.save_space(SearchSpace.load("moved.yaml"))
    Ledger(folder.ledger_path).append(make_record(0, sigma=1.0, arch="mobilenet_v3_small", split=12, lambda_=0.01))
    assert main(["search", "moved.yaml", "--resume"]) == 0
    return before


def moved(begun, monkeypatch):
    after = begun.with_name("after")
    begun.rename(after)
    monkeypatch.chdir(after)
    return after


def test_the_same_images_elsewhere_are_the_same_search(begun, monkeypatch, capsys):
    after = moved(begun, monkeypatch)
    assert main(["search", "moved.yaml", "--resume"]) == 0
    capsys.readouterr()
    assert main(["best-config", "--with-worthless", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["pipeline"]["source"]["root"] == str(after / "images")


@pytest.mark.parametrize("change", ["a pixel", "a label", "one less"])
def test_other_images_elsewhere_are_refused_with_both_places(begun, monkeypatch, capsys, change):
    after = moved(begun, monkeypatch)
    changed = after / "images" / "cat" / "3.png"
    if change == "a pixel":
        pixels = np.asarray(Image.open(changed)).copy()
        pixels[0, 0] ^= 1
        Image.fromarray(pixels).save(changed)
    elif change == "a label":
        changed.rename(after / "images" / "dog" / "33.png")
    else:
        changed.unlink()
    capsys.readouterr()
    assert main(["search", "moved.yaml", "--resume"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"images at {begun / 'images'}, which are others than those at {after / 'images'}" in line


def test_images_that_have_changed_where_they_lie_are_refused(begun, capsys):
    shutil.copy(begun / "images" / "dog" / "1.png", begun / "images" / "dog" / "2.png")
    capsys.readouterr()
    assert main(["search", "moved.yaml", "--resume"]) == 2
    assert "have changed since" in capsys.readouterr().err


def test_a_search_that_does_not_know_its_images_must_stay_where_it_is(begun, monkeypatch, capsys):
    (begun / "narl-runs" / "moved" / "images.json").unlink()
    assert main(["search", "moved.yaml", "--resume"]) == 0
    (begun / "narl-runs" / "moved" / "images.json").write_text("[" * 50_000)  # damaged: it is written anew
    assert main(["search", "moved.yaml", "--resume"]) == 0
    (begun / "narl-runs" / "moved" / "images.json").unlink()
    after = moved(begun, monkeypatch)
    capsys.readouterr()
    assert main(["search", "moved.yaml", "--resume"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(begun / "images") in line and str(after / "images") in line
