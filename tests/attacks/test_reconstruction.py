from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from rebuilding import CPU, SIZE, digits, target
from torch import nn

from narl.attacks.exact.of_target import least_errors
from narl.attacks.pictures import KEPT, Images, chosen
from narl.attacks.reader import private_reader
from narl.attacks.reconstruction import reconstruct
from narl.config.trial import Attack
from narl.core.steps import drained
from narl.data.dataset import open_dataset


@pytest.fixture(scope="module")
def dataset():
    return digits()


@pytest.fixture(scope="module")
def reader(dataset):
    settings = Attack(max_epochs=12, min_epochs=8, patience=2, batch_size=32, learning_rate=3e-3)
    steps = private_reader(dataset, "shufflenet_v2_x1_0", settings=settings, precision=CPU, seed=0, report_on="test")
    return drained(steps, lambda step: None)


def rebuild(dataset, reader, sigma, on_step=lambda step: None, queries=1, **settings):
    return drained(reconstruct(target(dataset, nn.Identity(), sigma, **settings), reader, queries=queries), on_step)


@pytest.fixture(scope="module")
def bare(dataset, reader):
    return rebuild(dataset, reader, 0.0, epochs=6)


@pytest.fixture(scope="module")
def hidden(dataset, reader):
    return rebuild(dataset, reader, 100.0, epochs=6)


def test_images_sent_as_they_are_are_rebuilt_and_read(bare):
    assert bare.metrics.psnr > 22 and bare.metrics.ms_ssim > 0.95
    assert bare.metrics.mse < bare.mean_image.mse / 8
    assert bare.read_clean.accuracy > 70
    assert bare.read_rebuilt.accuracy > bare.read_clean.accuracy - 25


def test_what_huge_noise_leaves_is_about_the_mean_image(hidden, bare):
    assert hidden.metrics.mse == pytest.approx(hidden.mean_image.mse, rel=0.2)
    assert hidden.metrics.mse > 0.97 * hidden.mean_image.mse
    assert hidden.read_rebuilt.accuracy < 30 < bare.read_rebuilt.accuracy
    assert hidden.mean_image == bare.mean_image


def test_the_least_error_is_none_without_noise_that_of_the_mean_image_in_much_and_falls_with_answers(dataset):
    def least(sigma, *queries):
        steps = least_errors(target(dataset, nn.Identity(), sigma), queries)
        return [error.mse for error in drained(steps, lambda step: None).values()]

    assert least(0.0, 1) == [0.0]
    images = 255 * target(dataset, nn.Identity(), 0.0).images("test")[torch.arange(100)].flatten(1)
    of_the_mean_image = images.var(0, correction=0).mean().item()
    assert least(1e4, 1) == pytest.approx([of_the_mean_image], rel=1e-3)
    falling = least(3.0, 1, 4, 16, 64)
    assert falling == sorted(falling, reverse=True) and falling[0] <= of_the_mean_image and falling[-1] < falling[0] / 2


def test_no_decoder_comes_below_the_least_error(dataset, hidden):
    (least,) = drained(least_errors(target(dataset, nn.Identity(), 100.0), (1,)), lambda step: None).values()
    assert least.mse <= hidden.metrics.mse


def test_the_mean_image_is_the_training_images_mean_in_closed_form(dataset, bare):
    pixels = {split: dataset.loader(split, batch_size=1000) for split in ("train", "test")}
    train, test = (next(loader.epoch(0)).images.double() for loader in pixels.values())
    assert bare.mean_image.mse == pytest.approx((test - train.mean(0)).square().mean().item(), rel=1e-5)
    assert Images(dataset, "train", CPU.device).mean() == pytest.approx(train.mean(0).div(255).float(), abs=1e-6)


def test_pictures_are_one_of_each_class_while_there_are_more(dataset, bare):
    labels = dataset.labels("test")[1]
    rows = chosen(labels)
    assert sorted(labels[rows].tolist()) == list(range(KEPT))
    first = next(dataset.loader("test", batch_size=len(labels)).epoch(0)).images.permute(0, 2, 3, 1)[rows]
    assert list(bare.pictures) == ["original", "mean image", "decoder"]
    assert all(shown.shape == (KEPT, SIZE, SIZE, 3) and shown.dtype == torch.uint8 for shown in bare.pictures.values())
    assert torch.equal(bare.pictures["original"], first)
    distance = (bare.pictures["decoder"].double() - first.double()).square().mean()
    assert distance < 4 * bare.metrics.mse


def test_the_first_of_each_class_comes_before_any_second():
    assert chosen(torch.tensor([5, 5, 5, 2, 2, 7]), 4).tolist() == [0, 1, 3, 5]
    assert chosen(torch.tensor([1, 1, 1]), 2).tolist() == [0, 1]
    assert chosen(torch.tensor([1, 0]), 9).tolist() == [0, 1]


def test_enough_answers_undo_the_noise(dataset, reader, bare):
    averaged = rebuild(dataset, reader, 100.0, queries=float("inf"), epochs=2)
    assert averaged.metrics.psnr > 22


def test_progress_tells_each_epoch_and_the_best_one_is_kept(dataset, reader):
    steps = []
    result = rebuild(dataset, reader, 1.0, steps.append, epochs=3)
    assert [step.epoch for step in steps] == [0, 1, 2] and not result.converged
    assert [step.psnr for step in steps] == pytest.approx([10 * np.log10(255**2 / mse) for mse in result.curve])


def test_a_seed_decides_everything(dataset, reader):
    first, again, other = (rebuild(dataset, reader, 1.0, epochs=1, seed=seed) for seed in (0, 0, 1))
    assert first.metrics == again.metrics and torch.equal(first.pictures["decoder"], again.pictures["decoder"])
    assert first.metrics.mse != other.metrics.mse


def test_the_reader_reads_images_better_than_noise(reader, dataset):
    noise = torch.rand(100, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        read = reader.network.eval()(noise).argmax(1)
    labels = dataset.labels("test")[1]
    assert 100 * (read == labels).float().mean().item() + 30 < reader.scores.accuracy


def test_a_report_is_json(bare):
    row = json.loads(json.dumps(bare.to_json(), allow_nan=False))
    assert row["rebuilt"]["psnr"] > row["mean_image"]["psnr"]


def test_images_in_a_file_are_those_in_memory(dataset, monkeypatch, tmp_path):
    monkeypatch.setenv("NARL_CACHE", str(tmp_path))
    rows = torch.tensor([5, 0, 99])
    in_memory = Images(dataset, "test", CPU.device)[rows]
    monkeypatch.setattr("narl.attacks.features.CACHE_LIMIT_BYTES", 0)
    assert torch.equal(Images(open_dataset(dataset.pipeline, splits=("test",)), "test", CPU.device)[rows], in_memory)
