"""A real cluster of several nodes on this machine: trials on all of them, nodes that join, die, or lack something."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from processes import alive, descendants
from ray_nodes import RayNodes
from tiny_search import environment, start, write_space

import narl
from narl.cli.main import main
from narl.figures.concurrency import concurrency, concurrency_png
from narl.search.ledger import Ledger, read_ledger

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


@pytest.fixture
def cluster(tmp_path, empty_database):
    (tmp_path / "mlflow.db").write_bytes(empty_database.read_bytes())
    with RayNodes(tmp_path, cpus=0) as nodes:
        yield nodes


@pytest.fixture
def search(cluster, tmp_path, monkeypatch, capfd):
    """`narl search` on the cluster, in this process: its exit code, standard output and standard error."""
    wanted = environment(tmp_path, HOME=str(cluster.home))
    for name in os.environ.keys() - wanted.keys():
        monkeypatch.delenv(name)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def search(space: Path) -> tuple[int, str, str]:
        capfd.readouterr()
        return main(["search", str(space), "--ray-address", cluster.address]), *capfd.readouterr()

    return search


def other_narl(folder: Path) -> str:
    """A PYTHONPATH with narl in another version."""
    shutil.copytree(Path(narl.__file__).parent, folder / "narl", ignore=shutil.ignore_patterns("__pycache__"))
    init = folder / "narl" / "__init__.py"
    init.write_text(re.sub(r'__version__ = ".*"', '__version__ = "0.0.1"', init.read_text()))
    return str(folder)


def test_every_node_gets_trials_but_one_with_another_version(cluster, search, tmp_path):
    good = [cluster.add(1), cluster.add(1)]
    bad = cluster.add(1, PYTHONPATH=other_narl(tmp_path / "other"))
    space = write_space(tmp_path, trials=6)
    code, out, err = search(space)
    assert (code, err) == (0, ""), out
    assert f"node {bad.ip} gets no more trials: it has narl 0.0.1, the driver {narl.__version__}" in out
    records = Ledger(tmp_path / "narl-runs" / "tiny" / "ledger.jsonl").records
    assert [r.status for r in records] == ["complete"] * 6
    assert {r.tags["node"] for r in records} == {node.ip for node in good}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpus_that_are_declared_and_not_there_are_no_reason_to_train_on_the_cpu(cluster, search, tmp_path):
    node = cluster.add(1, gpus=1)
    space = write_space(tmp_path, trials=2)  # whose trials take a GPU if the cluster has any
    code, out, err = search(space)
    assert code == 2 and "training on CPU" not in out
    reason = rf"narl: no node is left for trials \({node.ip}: 1 GPU was granted to a trial, and PyTorch .* finds none\)"
    assert re.search(reason, err)
    assert not read_ledger(tmp_path / "narl-runs" / "tiny" / "ledger.jsonl")


def test_a_node_that_joins_is_used_and_one_that_dies_costs_nothing(cluster, tmp_path):
    first = cluster.add(1)
    space, ledger = write_space(tmp_path, trials=1000), tmp_path / "narl-runs" / "tiny" / "ledger.jsonl"
    driver = start(tmp_path, "search", str(space), "--ray-address", cluster.address, HOME=str(cluster.home))
    below: dict = {}
    try:
        _until(lambda: read_ledger(ledger), driver)
        second = cluster.add(1)
        _until(lambda: second.ip in {r.tags["node"] for r in read_ledger(ledger)}, driver)
        first.cut_power()
        _until(lambda: [r for r in read_ledger(ledger) if "times_lost" in r.tags], driver)
    finally:
        below |= descendants(driver.pid)
        driver.terminate()
        out, _ = driver.communicate(timeout=60)
        deadline = time.monotonic() + 30
        while alive(below) and time.monotonic() < deadline:  # Python's resource tracker goes a moment later
            time.sleep(0.1)
        assert not alive(below)
    assert "was lost and runs again: its node died" in out
    assert all(r.metrics for r in read_ledger(ledger))


@pytest.mark.slow
def test_as_many_trials_run_as_a_growing_cluster_has_cpus(cluster, tmp_path):
    """With `NARL_CONCURRENCY=FILE.png` the picture of it is kept; with -s it says how soon a node was used."""
    cluster.add(1)
    joined: dict[str, float] = {}
    space, ledger = write_space(tmp_path, trials=1000), tmp_path / "narl-runs" / "tiny" / "ledger.jsonl"
    driver = start(tmp_path, "search", str(space), "--ray-address", cluster.address, HOME=str(cluster.home))

    def some_trials_at_once(count: int) -> bool:
        """Several of them: one could be chance."""
        most = sum(concurrency(records)[1].values()) if (records := read_ledger(ledger)) else np.zeros(1)
        assert most.max() <= count
        return (most == count).sum() >= 5

    try:
        _until(lambda: some_trials_at_once(1), driver)
        for cpus, total in ((1, 2), (2, 4)):
            joined[cluster.add(cpus).ip] = time.time()
            _until(lambda: some_trials_at_once(total), driver)  # noqa: B023 (called before the next)
    finally:
        driver.terminate()
        driver.communicate(timeout=60)
    records = read_ledger(ledger)
    assert len({r.tags["node"] for r in records}) == 3
    for ip, moment in joined.items():
        first = min(r.started_at for r in records if r.tags["node"] == ip)
        print(f"{ip}: its first trial began {first - moment:.1f} s after it had joined")
    if picture := os.environ.get("NARL_CONCURRENCY"):
        concurrency_png(records, "a cluster that grows", picture)


def test_images_that_only_the_driver_has_are_handed_over_once_a_node(cluster, search, tmp_path):
    """The nodes' narl looks for the images where the driver's are not; they share no cache either."""
    pictures, draw = tmp_path / "pictures", np.random.default_rng(0)
    for name in ("a", "b", "c", "d"):
        (pictures / name).mkdir(parents=True)
        for i in range(60):
            Image.fromarray(draw.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(pictures / name / f"{i}.png")
    pipeline = {
        "name": "pictures",
        "source": {"kind": "image_folder", "root": str(pictures)},
        "utility": {"name": "half", "map": {"one": ["a", "b"], "two": ["c", "d"]}},
        "private": {"name": "class"},
        "loader": "tensor",
    }
    # Another host has no such folder: here the nodes' Python is told so.
    blind = tmp_path / "blind"
    blind.mkdir()
    (blind / "sitecustomize.py").write_text(
        "import os.path\nreal = os.path.isdir\n"
        f"os.path.isdir = lambda path: os.fspath(path) != {str(pictures)!r} and real(path)\n"
    )
    for _ in range(2):
        cluster.add(1, PYTHONPATH=f"{blind}:{os.environ.get('PYTHONPATH', '')}")
    space = write_space(tmp_path, trials=4, pipeline=pipeline)
    code, out, err = search(space)
    assert (code, err) == (0, ""), out
    assert re.search(r"is not a folder.*; 240 files, \d+\.\d MiB, are handed over by the driver", out)
    handed = list((tmp_path / "cache" / "handed").glob("*/files/*/*.png"))
    assert len(handed) == 240
    for line in (tmp_path / "narl-runs" / "tiny" / "ledger.jsonl").read_text().splitlines():
        assert json.loads(line)["status"] == "complete"


def _until(condition, driver, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
