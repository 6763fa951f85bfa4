"""Whatever a user gets wrong: exit code 2, one line on standard error, nothing in the working folder."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from example_bundle import bundle_config
from example_pipelines import DIGITS
from example_records import make_record
from PIL import Image

from narl.cli.main import main
from narl.config.load import build
from narl.config.search_space import SearchSpace
from narl.export.bundle import write_bundle
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger

PIPELINE = DIGITS | {
    "splits": {"train_limit": 80, "validation_limit": 40, "test_limit": 40},
    "loader": "tensor",
}
SPACE = {
    "name": "tiny",
    "pipeline": PIPELINE,
    "architectures": {"mobilenet_v3_small": {"split_points": [12]}},
    "sigma": 1,
    "lambda": 0.01,
    "trials": 2,
    "training": {"epochs": 1},
    "attack": {"epoch_steps": 1, "clean_epochs": 0, "max_epochs": 1, "min_epochs": 1},
}
POINT = {"arch": "mobilenet_v3_small", "split": 12, "sigma": 1, "lambda": 0.01}


def changed(content: dict, changes: dict) -> dict:
    """A copy with the values at dotted paths replaced; the path `sigma.low` makes `sigma` a mapping."""
    result = copy.deepcopy(content)
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = result
        for parent in parents:
            node[parent] = node[parent] if isinstance(node.get(parent), dict) else {}
            node = node[parent]
        node[last] = value
    return result


def write_yaml(name: str, content: dict, changes: dict | None = None) -> str:
    Path(name).write_text(yaml.safe_dump(changed(content, changes or {})), encoding="utf-8")
    return name


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` with its content; folders too."""
    return {str(p.relative_to(folder)): b"" if p.is_dir() else p.read_bytes() for p in folder.rglob("*")}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty working folder, and a cache beside it."""
    for name in ("NARL_RUNS", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NARL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def refused(work, capfd):
    """Run a command line that must be refused; returns its message."""

    def run(*argv: str, code: int = 2) -> str:
        before = tree(work.parent)
        capfd.readouterr()
        try:
            exit_code = main(argv)
        except SystemExit as stop:  # argparse
            exit_code = stop.code
        shown = capfd.readouterr()
        assert exit_code == code, shown
        assert shown.out == ""
        assert shown.err.endswith("\n") and shown.err.count("\n") == 1, shown.err
        assert shown.err.startswith("narl")
        assert tree(work.parent) == before
        return shown.err

    return run


@pytest.fixture
def recorded(work):
    """A search named `tiny` with two trials, one of which failed."""
    folder = SearchFolder(work / "narl-runs" / "tiny")
    folder.save_space(build(SearchSpace, SPACE, "space"))
    ledger = Ledger(folder.ledger_path)
    ledger.append(make_record(0, arch="mobilenet_v3_small", split=12))
    ledger.append(make_record(1, arch="mobilenet_v3_small", split=12, sigma=2.0, error="DivergedTraining: epoch 1"))
    (folder.path / "driver.lock").touch()
    return folder


@pytest.fixture
def bundle(work):
    """The smallest thing that `narl export --from` takes."""
    state = {"weight": torch.zeros(3)}
    config = bundle_config(POINT)
    write_bundle(work / "bundle", client_state=state, server_state=state, config=config, metrics={})
    return work / "bundle"


# --- search spaces ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trails": 3}, ["unknown key 'trails'", "did you mean 'trials'"]),
        ({"pipeline.imge": {"size": 32}}, ["space.yaml: unknown key 'pipeline.imge'", "did you mean 'image'"]),
        ({"attack.patiance": 3}, ["unknown key 'attack.patiance'", "did you mean 'patience'"]),
        ({"architectures": {"mobilenet_v3_smal": {}}}, ["'mobilenet_v3_smal'", "did you mean 'mobilenet_v3_small'"]),
        ({"architectures.mobilenet_v3_small.split_points": [99]}, ["mobilenet_v3_small", "99", "allowed are 1 to"]),
        ({"architectures.mobilenet_v3_small.split_points": [0]}, ["mobilenet_v3_small", "0", "allowed are 1 to"]),
        ({"architectures": {"alexnet": {}}}, ["alexnet cannot take 32x32", "63x63"]),
        ({"sigma": -1}, ["sigma", ">= 0", "-1"]),
        ({"sigma": [0.5, -2]}, ["sigma", ">= 0", "-2"]),
        ({"sigma.low": -1, "sigma.high": 2}, ["sigma", "low", "greater than or equal to 0", "-1"]),
        ({"sigma.low": 1}, ["sigma", "missing key", "high"]),
        ({"lambda": "small"}, ["lambda", "expected a number", "'small'"]),
        ({"sampler": "tpee"}, ["sampler", "'tpe'", "'tpee'"]),
        ({"objectives": ["dleta"]}, ["did you mean 'delta'"]),
        ({"budgets": {"client_gflops": 1e-9}}, ["no client", "least client_gflops is", "mobilenet_v3_small split 12"]),
        ({"budgets": {"client_gflops": "two"}}, ["budgets.client_gflops", "number", "'two'"]),
        ({"budgets": {"gflops": 2}}, ["did you mean 'client_gflops'"]),
        ({"name": "../elsewhere"}, ["name", "'../elsewhere'"]),
        ({"pipeline": "nowhere.yaml"}, ["nowhere.yaml", "no such file"]),
        ({"pipeline.private.column": "digit"}, ["private: unknown column 'digit'", "class"]),
        ({"pipeline.utility.map": {"even": ["0"], "odd": []}}, ["'odd' gathers no class"]),
        (
            {"pipeline.utility.map": {"low": list("01234"), "high": list("5678")}},
            ["utility.map: class '9' is in no list"],
        ),
        ({"pipeline.utility.map": {"digit": list("0123456789"), "ten": ["10"]}}, ["unknown class '10'"]),
        (
            {"pipeline.splits.validation_limit": 4},
            ["private: value", "has no image among the 4 of the validation split"],
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_illegal_search_space(refused, changes, words):
    message = refused("search", write_yaml("space.yaml", SPACE, changes))
    for word in words:
        assert word in message


def test_no_such_search_space(refused):
    write_yaml("space.yaml", SPACE)
    assert "did you mean 'space.yaml'" in refused("search", "spaces.yaml")
    assert "space.yaml" in refused("search", "no/folder/space.yaml")


def test_a_number_in_scientific_notation_is_a_number(refused):
    """YAML takes 1e-3 for a string; a user does not. (Refused later, and only for its budgets.)"""
    Path("space.yaml").write_text(
        yaml.safe_dump(SPACE | {"budgets": {"client_gflops": 1e-9}}).replace("lambda: 0.01", "lambda: 1e-3")
    )
    assert "no client" in refused("search", "space.yaml")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trials", "many"], ["--trials", "'many'"]),
        (["--trials", "0"], ["--trials", "above 0"]),
        (["--time-budget", "never"], ["--time-budget", "'never'"]),
        (["--time-budget", "nan"], ["--time-budget", "finite"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--sampler", "tpee"], ["sampler", "'tpee'"]),
        (["--name", "a/b"], ["name", "'a/b'"]),
        (["--tirals", "3"], ["--tirals"]),
    ],
)
def test_illegal_option_of_search(refused, options, words):
    message = refused("search", write_yaml("space.yaml", SPACE), *options)
    for word in words:
        assert word in message


def test_existing_search_is_neither_overwritten_nor_mixed(recorded, refused):
    space = write_yaml("space.yaml", SPACE)
    message = refused("search", space)
    assert "'tiny' already exists" in message and "--resume" in message and "--name" in message
    other = write_yaml("other.yaml", SPACE, {"sigma": 2, "training.epochs": 3})
    message = refused("search", other, "--resume")
    assert "another space" in message and "sigma" in message and "training" in message
    assert "seed" in refused("search", space, "--resume", "--seed", "7")


def test_damaged_ledger_is_named_and_left_alone(recorded, refused):
    recorded.ledger_path.write_text("{}\n" + recorded.ledger_path.read_text())
    for argv in (["search", write_yaml("space.yaml", SPACE), "--resume"], ["pareto"], ["best-config"], ["sync"]):
        assert "ledger.jsonl, line 1" in refused(*argv)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"resources.cpus_per_trial": 4096}, [], ["a trial wants 4096 CPUs", "but the nodes have"]),
        ({}, ["--ray-address", "127.0.0.1:1"], ["no Ray cluster at '127.0.0.1:1'"]),
        ({}, ["--runs", "space.yaml"], ["cannot make space.yaml/tiny", "Not a directory"]),
        ({}, ["--study", "oracle://nobody:swordfish@nowhere/x"], ["oracle://nowhere/x"]),
    ],
)
def test_what_only_ray_or_the_database_can_refuse(refused, changes, options, words):
    message = refused("search", write_yaml("space.yaml", SPACE, changes), *options)
    for word in words:
        assert word in message
    assert "swordfish" not in message


# --- data ---


def write_images(folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for i in range(count):
        Image.fromarray(generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(folder / f"{i}.png")


def test_missing_and_empty_class_folders(work, refused):
    write_images(work / "images" / "cat", 6, seed=1)
    write_images(work / "images" / "dog", 6, seed=2)
    folder = {"source": {"kind": "image_folder", "root": "images"}, "utility": {"name": "animal"}}
    pipeline = PIPELINE | folder | {"private": {"name": "animal"}, "splits": {}}
    nowhere = {"source": {"kind": "image_folder", "root": "images/no"}}
    assert "images/no' is not a folder" in refused_both(refused, pipeline | nowhere)
    (work / "images" / "fox").mkdir()
    assert "fox has no image" in refused_both(refused, pipeline)
    write_images(work / "images" / "owl", 1, seed=3)
    (work / "images" / "fox").rmdir()
    assert "'owl' has 1 images, needs at least 3" in refused_both(refused, pipeline)


def test_tables_with_wrong_columns_and_paths(work, refused):
    write_images(work / "faces", 13, seed=1)
    rows = [f"faces/{i}.png,{'ab'[i % 2]},{'xy'[i // 6]}" for i in range(12)]
    (work / "faces.csv").write_text("path,sex,person\n" + "\n".join(rows) + "\n")

    def pipeline(**changes):
        content = {
            "source": {"kind": "table", "csv": "faces.csv"},
            "utility": {"name": "sex", "column": "sex"},
            "private": {"name": "person", "column": "person"},
            "splits": {},
        }
        return changed(PIPELINE | content, changes)

    message = refused_both(refused, pipeline(**{"private.column": "persons"}))
    assert "unknown column 'persons'" in message and "did you mean 'person'" in message
    assert "path_column" in refused_both(refused, pipeline(**{"source.path_column": "file"}))
    assert "did you mean 'faces.csv'" in refused_both(refused, pipeline(**{"source.csv": "face.csv"}))
    (work / "faces.csv").write_text("path,sex,person\n" + "\n".join(rows) + "\nfaces/99.png,a,x\n")
    message = refused_both(refused, pipeline())
    assert "line 14" in message and "no such image" in message
    (work / "faces.csv").write_text("path,sex,person\n" + "\n".join(rows) + "\nfaces/12.png,,x\n")
    assert "no value in column 'sex'" in refused_both(refused, pipeline())


def refused_both(refused, pipeline: dict) -> str:
    """`narl data build`, `narl search` and `narl train` refuse the pipeline in the same words."""
    built = refused("data", "build", write_yaml("pipeline.yaml", pipeline))
    searched = refused("search", write_yaml("space.yaml", SPACE | {"pipeline": "pipeline.yaml"}))
    trained = refused("train", write_yaml("config.yaml", {"pipeline": "pipeline.yaml", "trial": POINT}))
    assert built == searched == trained
    return built


@pytest.fixture(scope="module")
def betons(tmp_path_factory):
    """A cache with the FFCV files of two pipelines."""
    pytest.importorskip("ffcv.loader", exc_type=ImportError)
    cache = tmp_path_factory.mktemp("betons")
    for name, seed in (("mine", 0), ("other", 1)):
        pipeline = changed(PIPELINE, {"name": name, "splits.seed": seed, "loader": "ffcv"})
        (cache / f"{name}.yaml").write_text(yaml.safe_dump(pipeline))
        assert main(["data", "build", str(cache / f"{name}.yaml"), "--cache-dir", str(cache)]) == 0
    return cache


def beton_of(cache: Path, name: str) -> Path:
    (folder,) = cache.glob(f"{name}-*")
    return folder / "train.beton"


def truncate(mine: Path, other: Path) -> None:
    mine.write_bytes(mine.read_bytes()[:-1000])


def replace_file(mine: Path, other: Path) -> None:
    shutil.copy(other, mine)


def replace_both(mine: Path, other: Path) -> None:
    shutil.copy(other, mine)
    shutil.copy(other.with_suffix(".json"), mine.with_suffix(".json"))


def damage_and_agree(mine: Path, other: Path) -> None:
    """Cut short by somebody who also corrected the sidecar."""
    truncate(mine, other)
    sidecar = mine.with_suffix(".json")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "bytes": mine.stat().st_size}))


@pytest.mark.parametrize("damage", [truncate, replace_file, replace_both, damage_and_agree])
def test_beton_that_is_truncated_or_of_another_dataset(betons, work, refused, monkeypatch, damage):
    cache = work.parent / "cache"
    shutil.copytree(betons, cache)
    damage(beton_of(cache, "mine"), beton_of(cache, "other"))
    messages = {
        refused("data", "build", str(cache / "mine.yaml")),
        refused("search", write_yaml("space.yaml", SPACE | {"pipeline": str(cache / "mine.yaml")})),
        refused("train", write_yaml("config.yaml", {"pipeline": str(cache / "mine.yaml"), "trial": POINT})),
    }
    (message,) = messages
    assert "train.beton is not the train set of pipeline 'mine'" in message and "--force" in message


# --- answers ---


@pytest.mark.parametrize("command", [["pareto"], ["best-config"], ["sync"], ["export", "--to", "out"]])
def test_search_name_that_does_not_exist(recorded, refused, command):
    message = refused(*command, "--name", "tinny")
    assert "unknown search 'tinny'" in message and "did you mean 'tiny'" in message
    assert "no search in elsewhere" in refused(*command, "--runs", "elsewhere")


@pytest.mark.parametrize("command", [["best-config"], ["export", "--to", "out"]])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--budget-gflops", "two"], ["--budget-gflops", "'two'"]),
        (["--budget-gflops", "nan"], ["--budget-gflops", "finite"]),
        (["--budget-memory-mib", "-1"], ["--budget-memory-mib", "-1"]),
        (["--budget-uplink-kib", "0"], ["--budget-uplink-kib", "above 0"]),
        (["--min-utility", "101"], ["--min-utility", "0 to 100"]),
        (["--max-leakage", "nan"], ["--max-leakage", "0 to 100"]),
        (["--budget-gflops"], ["--budget-gflops", "expected one argument"]),
    ],
)
def test_budgets_that_are_no_numbers(recorded, refused, command, options, words):
    message = refused(*command, *options)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["serach"], ["'serach'", "did you mean 'search'"]),
        (["best_confg"], ["did you mean 'best-config'"]),
        (["data", "buld"], ["'buld'", "build"]),
        (["best-config", "--format", "xml"], ["--format", "'xml'", "yaml"]),
        (["profile", "--arch", "resnet18", "--split", "9"], ["resnet18", "9", "1 to 4"]),
        (["profile", "--split", "99"], ["no network fits"]),
        (["profile", "--size", "big"], ["--size", "'big'"]),
        (["pareto", "--figure", "front.pdf"], [".png", "front.pdf"]),
    ],
    ids=" ".join,
)
def test_commands_that_make_no_sense(recorded, refused, argv, words):
    message = refused(*argv)
    for word in words:
        assert word in message


# --- training and export ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trial.sigma": -3}, ["trial.sigma", "-3"]),
        ({"trial.split": 99}, ["mobilenet_v3_small", "99", "allowed are"]),
        ({"trial.arch": "alexnet", "trial.split": 4}, ["alexnet cannot take 32x32"]),
        ({"trial.arch": "resnet81"}, ["did you mean 'resnet18'"]),
        ({"trial.lamda": 1}, ["unknown key 'trial.lamda'", "did you mean 'lambda'"]),
        ({"pipeline": "nowhere.yaml"}, ["nowhere.yaml", "no such file"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_illegal_train_config(refused, changes, words):
    message = refused("train", write_yaml("config.yaml", {"pipeline": PIPELINE, "trial": POINT}, changes))
    for word in words:
        assert word in message


def test_train_does_not_write_over_anything(work, refused):
    config = write_yaml("config.yaml", {"pipeline": PIPELINE, "trial": POINT})
    (work / "taken").mkdir()
    (work / "taken" / "thesis.tex").write_text("")
    assert "taken exists already" in refused("train", config, "--out", "taken")
    assert "config.yaml exists already" in refused("train", config, "--out", "config.yaml")
    assert "config.yaml" in refused("train", config, "--out", "config.yaml/below")
    assert "no such file" in refused("train", "confg.yaml")


@pytest.mark.parametrize(
    ("to", "options", "words"),
    [
        ("gs://bucket/x", [], ["gs://", "s3://bucket/prefix"]),
        ("s3://Bad_Bucket/x", [], ["'Bad_Bucket' is no bucket name"]),
        ("s3://bucket/x", ["--endpoint-url", "ftp://ann:swordfish@host"], ["http://", "ftp://host"]),
        ("folder", ["--endpoint-url", "http://127.0.0.1:1"], ["is a folder"]),
        ("folder", ["--sse", "AES256"], ["S3 encrypts", "is a folder"]),
        ("s3://bucket/x", ["--kms-key-id", "1234"], ["a KMS key is for --sse aws:kms, got --sse nothing"]),
        ("s3://bucket/x", ["--endpoint-url", "http://127.0.0.1:1"], ["http://127.0.0.1:1 cannot be reached"]),
        ("taken", [], ["taken is not empty", "thesis.tex"]),
    ],
)
def test_export_to_where_it_cannot_go(bundle, recorded, refused, monkeypatch, to, options, words):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKEFAKEFAKEFAKE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "swordfish")
    (bundle.parent / "taken").mkdir()
    (bundle.parent / "taken" / "thesis.tex").write_text("")
    # The same from a bundle at hand and from a search, whose best would have to be trained first.
    for source in (["--from", "bundle"], []):
        if source or "reached" not in words[0]:
            message = refused("export", "--to", to, *options, *source)
            for word in words:
                assert word in message
            assert "swordfish" not in message


def test_export_of_what_is_no_bundle_or_was_tampered_with(bundle, refused):
    argv = ("export", "--to", "out", "--from")
    assert "holds no manifest.json" in refused(*argv, "nowhere")
    weights = bundle / "client.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert "client.safetensors is not the file that was exported" in refused(*argv, "bundle")
    weights.unlink()
    assert "client.safetensors is missing" in refused(*argv, "bundle")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["../../secret"] = manifest["files"].pop("metrics.json")
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    refused(*argv, "bundle")


# --- as a user sees it ---


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"trails": 3}, "did you mean 'trials'"), ({"pipeline.private.column": "digit"}, "unknown column 'digit'")],
    ids=["before imports", "after imports"],
)
def test_nothing_but_the_message_reaches_the_terminal(work, changes, word):
    """A whole process: no warning of a library, no traceback, no file."""
    space = write_yaml("space.yaml", SPACE, changes)
    before = tree(work.parent)
    done = subprocess.run([sys.executable, "-m", "narl", "search", space], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr and done.stderr.count("\n") == 1
    assert tree(work.parent) == before
