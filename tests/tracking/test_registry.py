"""Exports in MLflow's model registry: loaded as MLflow loads them, and the best of what fits."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from example_bundle import bundle_config
from mlflow import MlflowClient

from narl.cli.main import main
from narl.core.errors import NarlError
from narl.evaluation.report import Summary
from narl.export.bundle import load_bundle, write_bundle
from narl.export.portable import make_portable
from narl.methods.catalogue import halves_of
from narl.models.standardise import Standardised
from narl.search.best import Demands
from narl.tracking.registry import CHAMPION, register

REPORT = Path(__file__).parents[1] / "evaluation" / "released_0_2" / "report.json"
TRIAL = {"arch": "mobilenet_v3_small", "split": 3, "sigma": 0.5, "lambda": 0.1}
SIZE = 32


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Untrained halves, and the numbers of another client."""
    folder = tmp_path_factory.mktemp("registered") / "bundle"
    config = bundle_config(TRIAL, size=SIZE)
    halves = halves_of(config.trial, SIZE)
    server = Standardised(halves.rest(num_outputs=1, seed=1), halves.feature_shape[0])
    states = {"client_state": halves.client(seed=0).state_dict(), "server_state": server.state_dict()}
    write_bundle(folder, **states, config=config, metrics=Summary.load(REPORT).to_json())
    return folder


@pytest.fixture(scope="module")
def portable(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("registered") / "portable"
    make_portable(source, folder)
    return folder


@pytest.fixture
def registry(tmp_path, monkeypatch, empty_database):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(empty_database.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")


def numbers(delta, gflops=1.0):
    return {"delta": delta, "utility": delta + 30, "leakage": 30.0, "client_gflops": gflops}


def test_the_halves_work_as_mlflow_loads_them(portable, registry):
    import mlflow

    said = register(portable, "digits", numbers(60), worth=Demands().worth_of)
    assert said == "digits-client version 1 and digits-server version 1; champion: version 1 (this one)"
    client = mlflow.pyfunc.load_model(f"models:/digits-client@{CHAMPION}")
    server = mlflow.pyfunc.load_model(f"models:/digits-server@{CHAMPION}")
    images = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
    first, again = client.predict(images), client.predict(images)
    assert not np.array_equal(first, again)  # the noise is alive
    loaded, _, _ = load_bundle(portable)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        clean = loaded.body(pixels).numpy()
    assert np.std((first - clean) / TRIAL["sigma"]) == pytest.approx(1, abs=0.05)
    shares = server.predict(first)
    assert shares.shape == (4, 2) and np.allclose(shares.sum(1), 1)


def test_a_version_says_what_was_measured_and_holds_no_pickle_and_only_its_half(portable, registry, tmp_path):
    register(portable, "digits", numbers(60), worth=Demands().worth_of)
    version = registry.get_model_version("digits-client", "1")
    assert version.tags["narl.delta"] == "60.0" and version.tags["narl.client_gflops"] == "1.0"
    assert registry.get_run(version.run_id).data.metrics["delta"] == 60.0
    artifacts = Path(registry.download_artifacts(version.run_id, "", str(tmp_path)))
    for half, other in (("client", "server"), ("server", "client")):
        names = {path.name for path in (artifacts / half).rglob("*")}
        assert f"{half}.onnx" in names and f"{other}.onnx" not in names
        assert not {name for name in names if "safetensors" in name or name.endswith((".pkl", ".pickle"))}
        assert "pickle" not in (artifacts / half / "MLmodel").read_text()


def test_the_champion_is_the_best_within_the_budget_that_was_stated_last(portable, registry):
    small = Demands(budget_gflops=0.5).worth_of

    def champion():
        client, server = (registry.get_registered_model(f"digits-{half}").aliases for half in ("client", "server"))
        assert client == server
        return None if CHAMPION not in client else str(client[CHAMPION])

    register(portable, "digits", numbers(60, gflops=1.0), worth=Demands().worth_of)
    assert champion() == "1"
    assert "no version is within the budget" in register(portable, "digits", numbers(50), worth=small)
    assert champion() is None
    register(portable, "digits", numbers(40, gflops=0.4), worth=small)
    assert champion() == "3"
    assert register(portable, "digits", numbers(55), worth=Demands().worth_of).endswith("champion: version 1")
    assert champion() == "1"


def test_a_version_without_its_other_half_is_no_champion(portable, registry):
    register(portable, "digits", numbers(60), worth=Demands().worth_of)
    registry.create_model_version("digits-client", "runs:/0/client", None, tags={"narl.delta": "99.0"})
    assert register(portable, "digits", numbers(50), worth=Demands().worth_of).endswith("champion: version 1")


def test_a_name_that_mlflow_does_not_take_is_an_error_in_one_line(portable, registry):
    with pytest.raises(NarlError, match=r"MLflow at sqlite.*a/b") as raised:
        register(portable, "a/b", numbers(60), worth=Demands().worth_of)
    assert "\n" not in str(raised.value)


def test_numbers_that_are_lacking_are_beyond_every_bound():
    assert Demands(min_utility=80).worth_of(numbers(60)) == 60
    assert Demands(min_utility=95).worth_of(numbers(60)) is None
    assert Demands(max_identification=50).worth_of(numbers(60)) is None
    assert Demands(certified=True).worth_of(numbers(60)) is None


def test_the_command_registers_what_it_exports(registry, tmp_path, capsys, source, portable, monkeypatch):
    # The graphs are there already, and take seconds.
    monkeypatch.setattr(
        "narl.export.portable.make_portable", lambda _, folder, redact: shutil.copytree(portable, folder)
    )
    assert main(["export", "--from", str(source), "--to", str(tmp_path / "out"), "--register", "mine"]) == 0
    out = capsys.readouterr().out
    assert "registered mine-client version 1 and mine-server version 1; champion: version 1 (this one)" in out
    tags = registry.get_model_version("mine-client", "1").tags
    assert {"narl.delta", "narl.utility", "narl.leakage", "narl.client_gflops", "narl.client_memory_mib"} <= tags.keys()
