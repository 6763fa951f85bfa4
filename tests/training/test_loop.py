from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from narl.core.errors import DivergedTraining
from narl.data.share import share_of
from narl.training.loop import train


class Fixed:
    """A method whose losses are given, one a step."""

    def __init__(self, task, leak):
        self.begun = []
        self._losses = iter(zip(task, leak, strict=True))
        self.counts = []

    def num_epochs(self, configured):
        return configured

    def begin_epoch(self, epoch, configured):
        self.begun.append((epoch, configured))

    def step(self, images, utility, private):
        assert images.dtype == torch.float32 and images.max() <= 1
        self.counts.append(len(utility))
        task, leak = next(self._losses)
        return SimpleNamespace(task=torch.tensor(task), leak=torch.tensor(leak))


class Batches:
    def __init__(self, sizes):
        self._sizes = sizes

    def epoch(self, number):
        for size in self._sizes:
            labels = torch.zeros(size, dtype=torch.int64)
            images = torch.full((size, 3, 2, 2), 255, dtype=torch.uint8)
            yield SimpleNamespace(images=images, utility=labels, private=labels, share=share_of(size))


def run(method, sizes, epochs=1):
    return list(train(method, Batches(sizes), epochs=epochs, num_utility_classes=2, device=torch.device("cpu")))


def test_epoch_losses_are_means_over_images_and_a_lone_image_is_left_out():
    method = Fixed([1.0, 4.0], [2.0, 5.0])
    (losses,) = run(method, [4, 2, 1])
    assert method.counts == [4, 2]
    assert method.begun == [(0, 1)]
    assert losses.task == pytest.approx((4 * 1 + 2 * 4) / 6) and losses.leak == pytest.approx(3.0)


@pytest.mark.parametrize(("task", "leak"), [(float("nan"), 1.0), (1.0, float("inf")), (1e4, 1.0)])
def test_divergence_has_a_name(task, leak):
    with pytest.raises(DivergedTraining, match="epoch 2"):
        run(Fixed([0.5, task], [0.5, leak]), [4], epochs=2)
