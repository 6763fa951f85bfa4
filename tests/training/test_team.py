"""Workers that train together do what one would do alone with all their images."""

from __future__ import annotations

import importlib.util
import socket

import pytest
import torch
from teams import Workers
from together import gradient_in_parts, lose_a_worker, run_whole, train_method, train_with_little_memory
from torch import nn

from narl.core.method_options import METHODS
from narl.data.share import Share
from narl.training.batch_norm import synchronised
from narl.training.team import ALONE, Team, open_store

needs_ffcv = pytest.mark.skipif(importlib.util.find_spec("ffcv") is None, reason="FFCV is not installed")

# Everything is computed in float64 but DPFE's contrastive loss. Adam enlarges rounding where a gradient is about 0: of
# Shredder's 163,840 values one differed by 5e-9.
TOLERANCES = {"dpfe": {"rtol": 1e-4, "atol": 1e-5}, "shredder": {"rtol": 1e-7, "atol": 1e-8}}
TOLERANCE = {"rtol": 1e-8, "atol": 1e-9}


@pytest.fixture(scope="module")
def workers():
    with Workers(3) as processes:
        yield processes


@pytest.mark.parametrize(("method", "size"), [*((method, 3) for method in METHODS), ("narl", 2)])
def test_losses_gradients_weights_and_statistics_are_those_of_one_process(workers, method, size):
    """Batches of 7, 4 and 2 images: of three workers one has more than another, or all have the same two images."""
    expected = train_method(ALONE, method)
    assert expected or method == "image_noise"
    for found in workers.together(size, train_method, method):
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            how = TOLERANCES.get(method, TOLERANCE)
            torch.testing.assert_close(found[name], tensor, **how, msg=lambda text, name=name: f"{name}: {text}")


def test_in_parts_the_gradient_is_that_of_the_whole_batch(workers):
    expected = gradient_in_parts(Team(), 1)
    for size, parts in ((2, 2), (3, 1)):
        for found in workers.together(size, gradient_in_parts, parts):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_all_workers_take_as_many_parts_as_the_one_with_the_least_memory(workers):
    """The first one holds its 6 images of 11, the second 3 of its 5: both train as if both held 3, to the last bit."""
    uneven, expected = (workers.together(2, train_with_little_memory, "narl", holds) for holds in ((6, 3), (3, 3)))
    whole = workers.together(2, train_with_little_memory, "narl", (6, 5))
    for found in (*uneven, expected[1]):
        assert found.keys() == expected[0].keys()
        assert all(torch.equal(tensor, expected[0][name]) for name, tensor in found.items())
    assert not torch.equal(whole[0]["losses.0"], uneven[0]["losses.0"])  # batch normalisation saw parts


@pytest.mark.parametrize("loader", ["tensor", pytest.param("ffcv", marks=needs_ffcv)])
def test_a_trial_of_several_workers_is_that_of_one_with_either_loader(workers, loader):
    """Order, augmentation, losses and statistics; features of all views come from all workers' shares."""
    expected = run_whole(ALONE, loader)
    found, *nothing = workers.together(3, run_whole, loader)
    assert nothing == [None, None] and found["tags"]["workers"] == "3"
    assert found["features"].shape == expected["features"].shape == (31 + 2 * 50, *expected["features"].shape[1:])
    assert (found["features"] - expected["features"]).norm() < 1e-3 * expected["features"].norm()
    for name in ("train_task_loss", "train_leak_loss"):
        assert found["curves"][name] == pytest.approx(expected["curves"][name], rel=1e-4)


def test_all_workers_go_on_from_the_first_ones_checkpoint(workers, tmp_path):
    whole, _ = workers.together(2, run_whole, "tensor")
    workers.together(2, run_whole, "tensor", str(tmp_path), 1)
    assert len(list(tmp_path.iterdir())) == 1
    resumed, _ = workers.together(2, run_whole, "tensor", str(tmp_path))
    assert resumed["tags"]["resumed"] == "1" and not list(tmp_path.iterdir())
    assert resumed["curves"] == whole["curves"] and resumed["leakage"] == whole["leakage"]
    for name, tensor in whole["state"].items():
        assert torch.equal(resumed["state"][name], tensor), name
    assert torch.equal(resumed["features"], whole["features"])


def test_a_checkpoint_of_another_number_of_workers_is_not_used(workers, tmp_path):
    workers.together(2, run_whole, "tensor", str(tmp_path), 1)
    found = run_whole(ALONE, "tensor", str(tmp_path))
    assert "resumed" not in found["tags"]


def test_a_worker_that_leaves_ends_the_others_with_the_reason(workers):
    assert workers.together(2, lose_a_worker)[0].startswith("the trial's workers lost each other")


def test_the_meeting_place_is_open_at_its_own_address_alone():
    store = open_store("127.0.0.1")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", store.port), timeout=5)
    socket.create_connection(("127.0.0.1", store.port), timeout=5).close()


@pytest.mark.parametrize("dimensions", [(), (4, 3)])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_of_one_worker_is_the_plain_one(dimensions, affine):
    """The formulas, without other workers: as if half of the batch were elsewhere, but nobody adds anything."""
    kind = nn.BatchNorm2d if dimensions else nn.BatchNorm1d
    plain, ours = (kind(5, affine=affine, dtype=torch.float64) for _ in range(2))
    draw = torch.Generator().manual_seed(0)
    x, other = (3 + torch.randn(6, 5, *dimensions, generator=draw, dtype=torch.float64) for _ in range(2))
    x, again = (x.clone().requires_grad_() for _ in range(2))
    team = Team()
    team.share = Share(0, 6, 12, 12)
    expected = plain(x)
    with synchronised([ours], team):
        found = ours(again)
    for y in (expected, found):
        (y * other).sum().backward()
    assert type(ours) is kind
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(again.grad, x.grad)
    torch.testing.assert_close(ours.state_dict(), plain.state_dict())
    for one, another in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, another.grad)
