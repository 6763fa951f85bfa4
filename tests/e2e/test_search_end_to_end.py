"""A search and everything after it, on real images, with the real Ray, FFCV, Optuna and MLflow."""

from __future__ import annotations

import json
import re
import socket

import pytest
import torch
from mlflow import MlflowClient
from optuna.trial import TrialState
from tiny_search import narl, ray_folders, study_of, write_space

from narl.cli.main import main
from narl.config.trial import TrainConfig
from narl.export.bundle import load_bundle, verify_bundle
from narl.models.cost import client_cost
from narl.models.split import feature_shape
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger

pytestmark = pytest.mark.timeout(1200)

CLIENTS = [("mobilenet_v3_small", 12), ("shufflenet_v2_x1_0", 5)]


def dead_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search of a space of four points, two of which cannot train; MLflow is down, the temporary folder deep."""
    folder = tmp_path_factory.mktemp("searched")
    temporary = folder / "deep" / "as_schedulers_like_to_make_temporary_folders" / "job_123456789"
    temporary.mkdir(parents=True)
    # Noise that leaves float32's range now and then: infinities in the first batch.
    space = write_space(folder, sigma=[1, 3e38], **{"lambda": 0.01})
    mlflow = f"http://ann:s3cret@127.0.0.1:{dead_port()}"
    done = narl(folder, "search", str(space), TMPDIR=str(temporary), MLFLOW_TRACKING_URI=mlflow)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done


@pytest.fixture(scope="module")
def records(searched):
    return Ledger(searched[0] / "narl-runs" / "tiny" / "ledger.jsonl").records


def test_the_ledger_holds_every_trial_and_why_two_of_them_failed(records):
    assert [r.trial_id for r in records] == [0, 1, 2, 3]
    points = {(r.config.arch, r.config.split, r.config.sigma) for r in records}
    assert points == {(arch, split, sigma) for arch, split in CLIENTS for sigma in (1, 3e38)}
    for record in records:
        if record.config.sigma == 3e38:
            assert record.status == "failed"
            assert re.match(r"DivergedTraining: epoch 1: a loss is not finite", record.error)
        else:
            cost = client_cost(arch=record.config.arch, split=record.config.split, size=32, uplink_dtype="float32")
            assert record.status == "complete"
            assert record.metrics.cost == cost
            m = record.metrics
            assert m.leakage == min(max(m.strongest_adversary, m.label_floor), m.leakage_bound) <= 100
            assert m.delta == m.utility - m.leakage
            assert len(record.curves["train_task_loss"]) == 1
            assert record.tags["reported_on"] == "validation"
            assert record.started_at < record.finished_at


def test_the_study_agrees_with_the_ledger(searched, records):
    trials = study_of(SearchFolder(searched[0] / "narl-runs" / "tiny")).get_trials()
    told = {t.user_attrs["trial_id"]: t for t in trials if "trial_id" in t.user_attrs}
    for record in records:
        trial = told[record.trial_id]
        if record.metrics is None:
            assert trial.state == TrialState.FAIL
        else:
            m = record.metrics.hiding_nothing() if record.metrics.utility_is_a_guess else record.metrics
            assert (trial.state, trial.values) == (
                TrialState.COMPLETE,
                [m.delta, m.cost.client_gflops, m.cost.client_memory_mib],
            )
    assert {t.state for t in trials} == {TrialState.COMPLETE, TrialState.FAIL}


def test_without_a_terminal_it_prints_plain_lines(searched, records):
    lines = searched[1].stdout.splitlines()
    assert "\x1b" not in searched[1].stdout and "\r" not in searched[1].stdout
    shown = [re.match(r"(\d)/4 trial (\d) (\w+)/(\d+) σ (\S+) λ 0.01: (.*)", line) for line in lines]
    shown = [match.groups() for match in shown if match]
    assert [int(count) for count, *_ in shown] == [1, 2, 3, 4]
    for _, trial, arch, split, sigma, rest in shown:
        record = records[int(trial)]
        assert (record.config.arch, record.config.split, record.config.sigma) == (arch, int(split), float(sigma))
        if record.error:
            assert rest.startswith("failed: DivergedTraining")
        else:
            assert f"Δ {record.bound_sign('delta')}{record.metrics.delta:.2f} = {record.shown_utility} − " in rest
    assert lines.index(next(line for line in lines if "2 trials done" in line)) > 3
    assert "narl best-config" in lines[-1]


def test_nothing_of_the_libraries_reaches_the_terminal(searched):
    """One line on standard error: what the user should know, without the password in the address."""
    (line,) = searched[1].stderr.splitlines()
    assert re.fullmatch(
        r"narl: MLflow lacks some runs \(.*127\.0\.0\.1:\d+.*Connection refused.*\); narl sync .*", line
    )
    assert "s3cret" not in searched[1].stdout + searched[1].stderr


def test_nothing_is_left_behind(searched):
    folder, done = searched
    assert {p.name for p in folder.iterdir()} - {"cache"} == {"deep", "narl-runs", "tiny.yaml"}
    assert {p.name for p in (folder / "narl-runs").iterdir()} == {"tiny"}
    assert list(folder.rglob("narl-tune-*")) == list(folder.rglob("narl-ray-*")) == ray_folders(done.pid) == []


def test_sync_sends_what_mlflow_missed(searched, records, monkeypatch, capsys):
    folder, _ = searched
    done = narl(folder, "sync")
    assert (done.returncode, done.stderr) == (0, "")
    assert "sent 4 of 4 trials" in done.stdout
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("narl/tiny")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {int(run.data.tags["narl.trial_id"]): run for run in runs if run is not parent}
    assert children.keys() == {0, 1, 2, 3}
    for record in records:
        run = children[record.trial_id]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params["arch"] == record.config.arch
        if record.metrics is None:
            assert run.info.status == "FAILED" and "DivergedTraining" in run.data.tags["narl.error"]
        else:
            assert run.info.status == "FINISHED"
            assert run.data.metrics["delta"] == record.metrics.delta
            assert client.get_metric_history(run.info.run_id, "curve/train_task_loss")
    assert parent.info.status == "FINISHED"
    assert (parent.data.metrics["trials_complete"], parent.data.metrics["trials_failed"]) == (2, 2)
    files = {file.path: file.file_size for file in client.list_artifacts(parent.info.run_id)}
    assert files.keys() >= {"front.json", "front.html", "front.png"}
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["sync"]) == 0 and "sent 0 of 4 trials" in capsys.readouterr().out


@pytest.fixture(scope="module")
def trained(searched):
    """The answer to `narl best-config`, trained as a user would; what an epoch teaches may be no more than guessing."""
    folder, _ = searched
    answer = narl(folder, "best-config", "--budget-gflops", "1", "--with-worthless")
    assert (answer.returncode, answer.stderr) == (0, "")
    (folder / "best.yaml").write_text(answer.stdout, encoding="utf-8")
    done = narl(folder, "train", "best.yaml", "--out", "trained")
    assert done.returncode == 0, done.stderr
    return folder, TrainConfig.load(folder / "best.yaml"), done


def test_best_config_is_trained_and_tested(trained, records):
    folder, config, done = trained
    best = max((r for r in records if r.metrics), key=lambda r: (r.metrics.delta, -r.metrics.cost.client_memory_mib))
    assert config.trial == best.measured_point and config.trial.sigma_inference != "best"
    report = json.loads((folder / "trained" / "metrics.json").read_text())
    assert report["reported_on"] == "test" and report["num_samples"] == 100
    assert f"{report['by_seed']['0']['delta']:.2f}" in done.stdout
    # Same seed, same weights; only the images of the report differ.
    assert "100 images" in done.stdout and "wrote trained/" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    for line in done.stderr.splitlines():
        assert re.match(r"seed 0, (train, epoch \d+ of 1: |attack, )|opening the images, ", line), line


def test_exported_halves_work_together(trained):
    folder, config, _ = trained
    done = narl(folder, "export", "--from", "trained", "--to", "out/mobile")
    assert (done.returncode, done.stderr) == (0, "")
    verify_bundle(folder / "out" / "mobile")
    client, server, described = load_bundle(folder / "out" / "mobile")
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z = client(images, torch.Generator().manual_seed(1))
        logits = server(z)
    assert tuple(z.shape[1:]) == tuple(feature_shape(config.trial.arch, config.trial.split, 32))
    assert logits.shape == (3, 1) and logits.isfinite().all()
    assert described.utility_classes == ("even", "odd")


@pytest.mark.slow
def test_export_trains_what_was_never_trained_and_keeps_it(trained):
    folder = trained[0]
    done = narl(folder, "export", "--budget-gflops", "1", "--to", "first")
    assert done.returncode == 0, done.stderr
    again = narl(folder, "export", "--budget-gflops", "1", "--to", "second")
    assert (again.returncode, again.stderr) == (0, "")  # no training
    first, second = verify_bundle(folder / "first"), verify_bundle(folder / "second")
    assert first == second
    # The same configuration and seed as `narl train` had, on the same machine.
    for half in ("client.safetensors", "server.safetensors"):
        assert first["files"][half] == verify_bundle(folder / "trained")["files"][half]


@pytest.mark.slow
def test_search_in_which_nothing_can_train(tmp_path):
    """A learning rate that blows every trial up: all are recorded by name, and the exit code says so."""
    space = write_space(tmp_path, training={"epochs": 3, "batch_size": 64, "learning_rate": 1e6}, trials=2)
    done = narl(tmp_path, "search", str(space))
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == ""
    records = Ledger(tmp_path / "narl-runs" / "tiny" / "ledger.jsonl").records
    assert [record.status for record in records] == ["failed", "failed"]
    for record in records:
        assert record.error.startswith("DivergedTraining: epoch ")
        assert record.error in done.stdout
    assert "0 trials done (2 new, 2 failed)" in done.stdout
    assert narl(tmp_path, "best-config").returncode == 1
