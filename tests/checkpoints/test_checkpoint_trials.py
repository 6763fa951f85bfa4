"""A trial that was interrupted comes to the numbers of one that was not, to the last bit, whatever its method."""

from __future__ import annotations

import functools
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupted import KEY, assert_same, finish, steps_of, stop_after, tiny
from PIL import Image

from narl.attacks.outcome import TrialOutcome
from narl.checkpoints.snapshot import Snapshot
from narl.checkpoints.store import Checkpoints
from narl.checkpoints.trial_state import TrialState
from narl.config.load import build
from narl.config.pipeline import Pipeline
from narl.core.errors import DivergedTraining, WorkerLost
from narl.core.method_options import METHODS

# Where each method's training ends: two configured epochs, Shredder has two phases of them, Cloak three.
EPOCHS = dict.fromkeys(METHODS, 2) | {"image_noise": 0, "shredder": 4, "cloak": 6}
ATTACK_EPOCHS = 6  # utility, rest and mlp, two each


@functools.cache
def uninterrupted(method: str, **how) -> TrialOutcome:
    outcome, seen = finish(tiny(method, **how))
    assert len(seen) == EPOCHS[method] + ATTACK_EPOCHS + 4 * ("queries" in how)
    assert "resumed" not in outcome.tags
    return outcome


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def again(tmp_path):
    """Called for each process that the trial runs in."""
    return lambda: Checkpoints(str(tmp_path / "kept"), KEY, every_seconds=0)


def kept(tmp_path) -> Path:
    return tmp_path / "kept" / f"{KEY}.safetensors"


def check(config, whole: TrialOutcome, stop: int, again) -> None:
    stop_after(config, again(), stop)
    checkpoints = again()
    resumed, seen = finish(config, checkpoints)
    assert resumed.tags["resumed"] == "1" and checkpoints.ignored == ""
    # Nothing of training is lost; of the attack only the network that was being trained, two epochs long here.
    trained = len(whole.curves["train_task_loss"])
    finished = max(0, stop - trained - 1) // 2
    assert [p.phase for p in seen].count("train") == max(0, trained - stop)
    assert [p.phase for p in seen].count("attack") == ATTACK_EPOCHS - 2 * finished
    assert_same(resumed, whole)


# Before and after phases change; with a covariance that is watched; while training and while attacked.
@pytest.mark.parametrize(
    ("method", "stop"), [("narl", 1), ("narl", 2), ("narl", 5), ("dpfe", 1), ("shredder", 2), ("cloak", 4)]
)
def test_an_interrupted_trial_comes_to_the_same_numbers(method, stop, again):
    check(tiny(method), uninterrupted(method), stop, again)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "stop"), [(m, stop) for m in METHODS for stop in range(1, EPOCHS[m] + ATTACK_EPOCHS + 1)]
)
def test_every_method_after_every_epoch(method, stop, again):
    check(tiny(method), uninterrupted(method), stop, again)


def test_dropout_goes_on_where_it_was(again):
    """mobilenet_v2's head has dropout, which torch's global generator draws."""
    how = {"arch": "mobilenet_v2"}
    check(tiny("gaussian_posthoc", **how), uninterrupted("gaussian_posthoc", **how), 1, again)


def test_a_trial_goes_on_in_another_process_as_often_as_it_must(tmp_path, again):
    with another_process(tmp_path, "narl", "1") as process:  # an epoch of training
        assert process.wait(300) == 0
    stop_after(tiny(), again(), 2)  # the last of it, and one of the attack
    outcome, _ = finish(tiny(), again())
    assert outcome.tags["resumed"] == "2"
    assert_same(outcome, uninterrupted("narl"))
    assert os.listdir(tmp_path / "kept") == []


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_nothing_but_time(tmp_path, again):
    moments, left = random.Random(3), 0
    for _ in range(8):
        with another_process(tmp_path, "shredder") as process:
            for _ in range(moments.randrange(1, 4)):
                process.stdout.readline()
            time.sleep(moments.uniform(0, 0.2))  # into an epoch, or a file
            process.kill()
        left += kept(tmp_path).exists()
    assert left
    checkpoints = again()
    outcome, _ = finish(tiny("shredder"), checkpoints)
    assert checkpoints.ignored == ""
    assert_same(outcome, uninterrupted("shredder"))
    assert os.listdir(tmp_path / "kept") == []


def another_process(tmp_path, *arguments: str) -> subprocess.Popen:
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(here / "interrupted.py"), str(tmp_path / "kept"), *arguments]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)


def test_attacks_with_more_answers_are_kept_too(again):
    config, whole = tiny(queries=[4]), uninterrupted("narl", queries=(4,))
    stop_after(config, again(), 2 + ATTACK_EPOCHS + 3)  # "4 queries, rest" has finished
    outcome, seen = finish(config, again())
    assert [p.detail.rpartition(", ")[2].split()[0] for p in seen] == ["mlp", "mlp"]
    assert_same(outcome, whole)


def test_a_resumed_trial_can_be_attacked_further_under_other_settings(again):
    """Readings of the attack are not mistaken for those of a later one by networks of the same names."""
    stop_after(tiny(), again(), 2 + ATTACK_EPOCHS)
    outcome, _ = finish(tiny(), again())
    target = outcome.target.with_adversary("mlp", max_epochs=1)
    steps = target.read_with_adversaries(target.labels("private"), 10)
    assert len(list(steps)) == 1


@pytest.mark.parametrize("network", [None, "utility"], ids=["in training", "while M2 is trained"])
def test_a_sigma_that_was_chosen_stays_chosen(network, tmp_path, again):
    config = tiny(sigma_inference="best", adversaries=["bayes", "rest"])
    whole, seen = finish(config)
    last = 1 if network is None else 1 + max(i for i, p in enumerate(seen) if p.detail.startswith(network))
    stop_after(config, again(), last + (network is not None))  # a reading is kept when the next is asked for
    if network:
        kept_profile = Snapshot.decode(kept(tmp_path).read_bytes()).header.sigma_profile
        assert kept_profile == whole.metrics.sigma_profile
    checkpoints = again()
    resumed, _ = finish(config, checkpoints)
    assert resumed.tags["resumed"] == "1" and checkpoints.ignored == ""
    assert resumed.metrics.sigma_inference == whole.metrics.sigma_inference != config.trial.sigma
    assert_same(resumed, whole)


def test_time_before_an_interruption_counts(tmp_path, again):
    stop_after(tiny(), again(), 2 + 4)  # utility and rest have finished
    content = kept(tmp_path).read_bytes()
    header = Snapshot.decode(content).header
    assert [reading.name for reading in header.readings] == ["utility"]  # rest is kept once it is asked for the next
    longer = header.model_copy(update={"train_seconds": 5000.0, "attack_seconds": 700.0})
    kept(tmp_path).write_bytes(Snapshot(longer, Snapshot.decode(content).tensors).encode())
    outcome, _ = finish(tiny(), again())
    assert outcome.metrics.train_seconds >= 5000 > outcome.metrics.attack_seconds >= 700


def test_a_trial_of_seconds_writes_nothing(tmp_path):
    outcome, _ = finish(tiny("image_noise"), Checkpoints(str(tmp_path / "kept"), KEY))
    assert not (tmp_path / "kept").exists()
    assert_same(outcome, uninterrupted("image_noise"))


@pytest.mark.parametrize("change", ["truncated", "other configuration", "lacks a tensor", "misshapen"])
def test_what_does_not_fit_is_never_used_not_even_half(change, tmp_path, again, caplog):
    config = tiny()
    if change == "other configuration":
        config = tiny(max_epochs=1)
    stop_after(config, again(), 1)
    content = kept(tmp_path).read_bytes()
    snapshot = Snapshot.decode(content)
    last = max(name for name in snapshot.tensors if name.startswith("optimisers"))
    if change == "truncated":
        kept(tmp_path).write_bytes(content[:-100])
    elif change == "lacks a tensor":
        rest = {name: tensor for name, tensor in snapshot.tensors.items() if name != "generators.cpu"}
        kept(tmp_path).write_bytes(Snapshot(snapshot.header, rest).encode())
    elif change == "misshapen":
        name = next(name for name in snapshot.tensors if name.startswith("networks.2") and "weight" in name)
        other = {**snapshot.tensors, name: torch.zeros(3), last: torch.zeros(2)}
        kept(tmp_path).write_bytes(Snapshot(snapshot.header, other).encode())
    checkpoints = again()
    outcome, _ = finish(tiny(), checkpoints)
    assert checkpoints.ignored and checkpoints.ignored in caplog.text and "resumed" not in outcome.tags
    assert_same(outcome, uninterrupted("narl"))


def test_a_checkpoint_of_other_images_is_never_used(tmp_path, again):
    """One pixel of each image of a class has changed, behind the same configuration."""
    draw = np.random.default_rng(0)
    for name in ("a", "b", "c", "d"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(15):
            picture = Image.fromarray(draw.integers(0, 255, (32, 32, 3), dtype=np.uint8))
            picture.save(tmp_path / "pictures" / name / f"{i}.png")
    config = tiny()
    pipeline = {
        "name": "pictures",
        "source": {"kind": "image_folder", "root": str(tmp_path / "pictures")},
        "utility": {"name": "half", "map": {"one": ["a", "b"], "two": ["c", "d"]}},
        "private": {"name": "class"},
        "loader": "tensor",
    }
    config = config.model_copy(update={"pipeline": build(Pipeline, pipeline, "test")})
    stop_after(config, again(), 1)
    same = again()
    next(steps_of(config, same))
    assert same.ignored == ""
    for path in (tmp_path / "pictures" / "d").iterdir():
        with Image.open(path) as picture:
            picture.putpixel((0, 0), (1, 2, 3))
            picture.save(path)
    other = again()
    next(steps_of(config, other))
    assert re.fullmatch(r"it is of another trial \(data [0-9a-f]{64}, here [0-9a-f]{64}\)", other.ignored)


def test_only_an_end_of_its_own_removes_a_trial_s_checkpoint(tmp_path, again):
    stop_after(tiny(), again(), 1)
    for interruption in (WorkerLost("gone"), MemoryError(), KeyboardInterrupt(), GeneratorExit()):
        with pytest.raises(type(interruption)), TrialState(tiny(), "validation", None, again()).until_ended():
            raise interruption
        assert kept(tmp_path).exists()
    with pytest.raises(DivergedTraining), TrialState(tiny(), "validation", None, again()).until_ended():
        raise DivergedTraining("a loss")
    assert not kept(tmp_path).exists()


@pytest.mark.gpu
def test_a_gpu_s_trial_goes_on_there_alone(again):
    """Some of a GPU's kernels add in an order of their own, so losses are the same to rounding only."""
    gpu = torch.device("cuda")
    whole, _ = finish(tiny(), None, gpu)
    stop_after(tiny(), again(), 1, gpu)
    resumed, _ = finish(tiny(), again(), gpu)
    assert resumed.tags["resumed"] == "1"
    assert resumed.curves["train_task_loss"] == pytest.approx(whole.curves["train_task_loss"], rel=0.05)
    stop_after(tiny(), again(), 1, gpu)
    elsewhere = again()
    outcome, _ = finish(tiny(), elsewhere)
    assert "device cuda, here cpu" in elsewhere.ignored and "resumed" not in outcome.tags


def test_a_trial_goes_on_from_s3(aws, s3_server, monkeypatch):
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="narl-trials")
    checkpoints = [Checkpoints("s3://narl-trials/search", KEY, every_seconds=0) for _ in range(2)]
    stop_after(tiny(), checkpoints[0], 1)
    outcome, _ = finish(tiny(), checkpoints[1])
    assert outcome.tags["resumed"] == "1"
    assert_same(outcome, uninterrupted("narl"))
    assert "Contents" not in boto3.client("s3", region_name="us-east-1").list_objects_v2(Bucket="narl-trials")
