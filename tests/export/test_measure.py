"""Latency and memory of clients: measured where there is neither torch nor narl, and told in one form."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from example_bundle import bundle_config

from narl.cli.main import main
from narl.core.method_options import METHODS
from narl.core.point import Point
from narl.export import runtime
from narl.export.bundle import load_bundle, write_bundle
from narl.export.measure import write_client
from narl.export.portable import make_portable
from narl.export.runtime.narl_client import Client
from narl.export.variants import write_variant
from narl.methods.catalogue import halves_of
from narl.models.standardise import Standardised

SIZE = 32
TRIAL = {"arch": "mobilenet_v3_small", "split": 2, "sigma": 0.5, "lambda": 0.01}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """An exported client with untrained weights and both smaller variants."""
    from narl.export.manifest import write_manifest

    place = tmp_path_factory.mktemp("bundles")
    halves = halves_of(Point.from_json(TRIAL), SIZE)
    server = Standardised(halves.rest(num_outputs=1, seed=1), halves.feature_shape[0])
    states = {"client_state": halves.client(seed=0).state_dict(), "server_state": server.state_dict()}
    write_bundle(place / "trained", **states, config=bundle_config(TRIAL, size=SIZE), metrics={})
    manifest = make_portable(place / "trained", place / "exported")
    images = np.random.default_rng(0).random((8, 3, SIZE, SIZE), dtype=np.float32)
    for name in ("float16", "int8"):
        write_variant(place / "exported", load_bundle(place / "trained"), name, [images])
    about = {key: value for key, value in manifest.items() if key != "files"}
    write_manifest(place / "exported", about, [*manifest["files"], "client.float16.onnx", "client.int8.onnx"])
    return place / "exported"


def check(row: dict) -> None:
    assert 0 < row["latency_ms"] <= row["latency_p95_ms"]
    assert 10 < row["runtime_memory_mib"] <= row["peak_memory_mib"]


def test_every_variant_of_a_bundle_is_measured(bundle, capsys):
    assert main(["profile", "--measure", str(bundle), "--runs", "5", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["threads"] == 1 and told["runs"] == 5 and told["device"]["cpu"]
    assert [row["variant"] for row in told["clients"]] == ["float32", "float16", "int8"]
    for row in told["clients"]:
        check(row)
        assert row["client"] == "mobilenet_v3_small/2" and row["image_size"] == SIZE


def test_a_bundle_measures_itself_beside_numpy_and_onnxruntime(bundle, tmp_path):
    """As on a board: its own files, a Python that does not find narl or torch among its modules."""
    shutil.copytree(bundle, tmp_path / "board")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "board" / "narl_measure.py"), "--runs", "3"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [row["variant"] for row in json.loads(done.stdout)["clients"]] == ["float32", "float16", "int8"]


def test_the_runtime_imports_nothing_heavy():
    script = Path(runtime.__file__).parent / "narl_measure.py"
    code = f"import sys; sys.path.insert(0, {str(script.parent)!r}); import narl_measure"
    code += "\nassert not {'torch', 'narl', 'scipy', 'PIL', 'onnx'} & set(sys.modules)"
    subprocess.run([sys.executable, "-I", "-c", code], check=True)


def test_memory_is_the_clients_own_and_not_of_who_started_it(bundle):
    """On Linux a process inherits the peak that getrusage tells."""
    script = Path(runtime.__file__).parent / "narl_measure.py"
    code = """
import subprocess, sys
large = b"x" * 2**29
print(subprocess.run([sys.executable, *sys.argv[1:]], capture_output=True, text=True, check=True).stdout)
"""
    arguments = [str(script), str(bundle), "--variant", "float32", "--runs", "1"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["peak_memory_mib"] < 400


def test_untrained_clients_are_measured_here_or_carried_elsewhere(tmp_path, capsys):
    named = ["--arch", "mobilenet_v3_small", "--split", "1", "2", "--size", "32"]
    assert main(["profile", "--measure", *named, "--runs", "3"]) == 0
    shown = capsys.readouterr().out
    assert "mobilenet_v3_small/1" in shown and "3 answers each" in " ".join(shown.split())
    assert main(["profile", *named, "--to", str(tmp_path / "clients")]) == 0
    board = [sys.executable, str(tmp_path / "clients" / "narl_measure.py"), "--runs", "3"]
    told = json.loads(subprocess.run(board, capture_output=True, text=True, check=True).stdout)
    assert [row["client"] for row in told["clients"]] == ["mobilenet_v3_small/1", "mobilenet_v3_small/2"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_client_that_can_be_measured(method, tmp_path):
    from narl.methods.profile import clients

    split = 2 if METHODS[method].uses_split else None
    (point,) = clients("mobilenet_v3_small", split, size=SIZE, method=method)
    write_client(tmp_path / "client", point, SIZE)
    client = Client(tmp_path / "client")
    assert client.name == point.costed_client and client.name.startswith(point.client)
    assert client.answer(np.zeros((SIZE, SIZE, 3), np.uint8)).shape == (1, *halves_of(point, SIZE).feature_shape)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "2"], "add --measure"),
        (["--measure", "--to", "there"], "leave one of them out"),
        (["--measure", "there", "--arch", "resnet18"], "leave --arch and --split out"),
        (["--measure", "there"], "no bundle"),
        (["--measure", "--arch", "resnt18"], "did you mean 'resnet18'"),
        (["--measure", "--runs", "0"], "above 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["profile", *arguments])
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr().err
    assert code == 2 and message in said and "Traceback" not in said


def test_a_bundle_without_graphs_or_with_damage_is_refused(bundle, tmp_path, capsys):
    shutil.copytree(bundle, tmp_path / "damaged")
    graph = tmp_path / "damaged" / "client.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    assert main(["profile", "--measure", str(tmp_path / "damaged")]) == 2
    assert "client.onnx is not the file that was exported" in capsys.readouterr().err
    assert main(["profile", "--measure", str(bundle.parent / "trained")]) == 2
    assert "narl export --from" in capsys.readouterr().err
