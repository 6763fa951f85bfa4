"""How many trials fit: Ray's rules for shares of GPUs, by hand and as properties."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from toy import toy_space

from narl.cli.main import main
from narl.config.load import build
from narl.config.search_space import Resources
from narl.core.errors import ConfigError
from narl.search.capacity import TrialResources, node_types_to_come, resolve

HEAD = {"CPU": 4.0}
GPU_NODE = {"CPU": 8.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("cpus", "gpus", "nodes", "count"),
    [
        (1, 0, [HEAD], 4),
        (3, 0, [HEAD, HEAD], 2),  # one CPU of each is left, and no trial lies on two nodes
        (1, 1, [HEAD, GPU_NODE], 2),
        (1, 0.5, [GPU_NODE], 4),
        (1, 0.65, [GPU_NODE], 2),  # three would fit into 2.0 GPUs, none of them into what is left of one
        (1, 1 / 3, [GPU_NODE], 6),
        (1, 0.50004, [GPU_NODE], 4),  # as Ray counts them
        (1, 0.65, [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 4.0, "GPU": 1.0}], 2),
        (1, 0.1, [GPU_NODE], 8),  # the CPUs are used up first
        (1, 0, [], 0),
    ],
)
def test_trials_that_fit(cpus, gpus, nodes, count):
    assert TrialResources(cpus, gpus).fit_in(nodes) == count


@pytest.mark.parametrize(
    ("cpus", "gpus", "workers", "nodes", "count"),
    [
        (2, 2, 2, [GPU_NODE], 1),
        (2, 4, 4, [GPU_NODE], 0),
        (2, 4, 4, [GPU_NODE, GPU_NODE], 1),  # across nodes
        (2, 3, 3, [GPU_NODE, GPU_NODE, GPU_NODE], 2),
        (8, 2, 2, [GPU_NODE, GPU_NODE], 2),
        (10, 2, 2, [GPU_NODE, HEAD, GPU_NODE], 1),  # 5 CPUs a worker, and each needs a GPU beside them
        (6, 0, 2, [HEAD, HEAD, HEAD], 1),
    ],
)
def test_workers_of_one_trial_may_lie_on_several_nodes(cpus, gpus, workers, nodes, count):
    assert TrialResources(cpus, gpus, workers).fit_in(nodes) == count


@given(st.floats(0.01, 1), st.integers(0, 8))
def test_shares_of_a_gpu_never_add_up_to_more_than_it(share, gpus):
    count = TrialResources(0.001, share).fit_in([{"CPU": 1000.0, "GPU": float(gpus)}])
    # Ray cuts a share to ten thousandths.
    assert count % max(gpus, 1) == 0 and count * (share - 1e-4) <= gpus
    assert (count + gpus) * share > gpus - 1e-6  # one more on each GPU would not fit


def most_by_trying(share: int, gpus: int) -> int:
    """How many shares, in ten thousandths, are placed if each goes where it fits."""
    free, placed = gpus * [10_000], 0
    while (where := next((i for i, left in enumerate(free) if left >= share), None)) is not None:
        free[where] -= share
        placed += 1
    return placed


@given(st.integers(100, 10_000), st.lists(st.integers(0, 4), max_size=4))
def test_as_many_trials_fit_as_can_be_placed_one_after_another(share, gpus_of_nodes):
    nodes = [{"CPU": 1000.0, "GPU": float(gpus)} for gpus in gpus_of_nodes]
    placed = sum(most_by_trying(share, gpus) for gpus in gpus_of_nodes)
    assert TrialResources(0.001, share / 10_000).fit_in(nodes) == placed


def test_a_gpu_that_is_to_come_counts():
    assert resolve(Resources(), [HEAD], [(GPU_NODE, 3)]).gpus == 1
    assert resolve(Resources(), [HEAD], []).gpus == 0
    with pytest.raises(ConfigError, match=r"a trial wants 9 CPUs and 1 GPUs .* have: 4 CPUs and 0 GPUs; 8 CPUs and 2"):
        resolve(Resources(cpus_per_trial=9), [HEAD], [(GPU_NODE, 1)])


@pytest.mark.parametrize(
    ("asked", "cluster", "gpus", "workers"),
    [
        ({}, [HEAD], 0, 1),
        ({"gpus_per_trial": 0.5}, [GPU_NODE], 0.5, 1),
        ({"gpus_per_trial": 2}, [GPU_NODE], 2, 2),
        ({"workers_per_trial": 2}, [GPU_NODE], 2, 2),
        ({"workers_per_trial": 2}, [HEAD], 0, 2),
        ({"workers_per_trial": 2, "gpus_per_trial": 0}, [GPU_NODE], 0, 2),
        ({"workers_per_trial": 1, "gpus_per_trial": 0.25}, [GPU_NODE], 0.25, 1),
    ],
)
def test_each_worker_has_a_gpu_where_there_are_any(asked, cluster, gpus, workers):
    trial = resolve(build(Resources, asked, "space"), cluster, [])
    assert (trial.gpus, trial.workers) == (gpus, workers)


def test_a_trial_of_more_workers_than_fit_is_refused():
    with pytest.raises(ConfigError, match="a trial wants 1 CPUs and 3 GPUs for 3 workers .* have: 8 CPUs and 2 GPUs"):
        resolve(Resources(gpus_per_trial=3), [GPU_NODE], [])


@pytest.mark.parametrize("gpus", [1, 0.5, 3])
def test_workers_without_a_gpu_each_are_refused(gpus):
    with pytest.raises(ConfigError, match="each worker trains on one GPU"):
        build(Resources, {"gpus_per_trial": gpus, "workers_per_trial": 2}, "space")


@given(
    st.sampled_from([1e-5, float("inf"), float("nan")])
    | st.floats(1, 1e6).filter(lambda n: n % 1)
    | st.floats(max_value=-1e-9)
)
def test_amounts_that_no_trial_can_use_are_refused(gpus):
    with pytest.raises(ConfigError, match="gpus_per_trial"):
        build(Resources, {"gpus_per_trial": gpus}, "space")


@pytest.mark.parametrize("asked", [{"workers_per_trial": 3}, {"gpus_per_trial": 3}])
def test_a_worker_needs_as_much_of_a_cpu_as_ray_can_count(asked):
    with pytest.raises(ConfigError, match="3 workers need cpus_per_trial 0.0003 or more, got 0.0002"):
        build(Resources, {"cpus_per_trial": 0.0002, **asked}, "space")
    build(Resources, {"cpus_per_trial": 0.0003, **asked}, "space")


def test_a_share_of_several_gpus_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    space = toy_space().model_dump(mode="json", by_alias=True) | {"resources": {"gpus_per_trial": 1.5}}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
    assert main(["search", "space.yaml"]) == 2
    assert "gpus_per_trial: a share of one GPU or whole GPUs" in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["space.yaml"]


def test_node_types_of_a_launcher_file(tmp_path):
    path = tmp_path / "ray_bootstrap_config.yaml"
    path.write_text(
        "max_workers: 3\nhead_node_type: head\navailable_node_types:\n"
        "  head: {resources: {CPU: 4}}\n"
        "  gpu: {resources: {CPU: 4, GPU: 1, 'accelerator_type:A10G': 1}, max_workers: 9}\n"
        "  none: {resources: {CPU: 4}, max_workers: 0}\n"
    )
    assert node_types_to_come(path) == [({"CPU": 4, "GPU": 1, "accelerator_type:A10G": 1}, 3)]
    assert node_types_to_come(tmp_path / "absent") == []
    path.write_text("- what\n- else\n")
    assert node_types_to_come(path) == []
