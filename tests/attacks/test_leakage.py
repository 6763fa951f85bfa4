from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from example_pipelines import DIGITS
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from narl.attacks.features import CachedFeatures, StreamedFeatures, features_of, training_views
from narl.attacks.fit import LabelledFeatures, evaluate, fit
from narl.attacks.label_floor import label_floor
from narl.config.load import build
from narl.config.pipeline import Pipeline
from narl.config.trial import Attack
from narl.core.steps import drained
from narl.data.dataset import open_dataset
from narl.models.noise.gaussian import GaussianNoise
from narl.models.split import Obfuscator
from narl.training.precision import Precision

CPU = Precision(torch.device("cpu"), torch.float32)


def test_floor_of_the_papers_cifar10_task():
    private = np.repeat(np.arange(10), 100)
    living = np.isin(private, [2, 3, 4, 5, 6, 7]).astype(int)
    assert label_floor(living, private) == pytest.approx(20.0)  # 0.6/6 + 0.4/4


def test_floor_of_a_label_that_tells_all_or_nothing():
    private = np.array([0, 0, 1, 1, 2, 2])
    assert label_floor(private, private) == 100
    assert label_floor(np.zeros(6, int), np.array([0, 0, 0, 1, 1, 2])) == pytest.approx(50)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=40))
def test_floor_is_what_the_best_rule_from_the_utility_label_scores(pairs):
    utility, private = (np.array(column) for column in zip(*pairs))
    rules = [max(range(5), key=lambda p: np.sum((utility == u) & (private == p))) for u in range(3)]
    score = 100 * np.mean([rules[u] == p for u, p in pairs])
    assert label_floor(utility, private) == pytest.approx(score)
    assert label_floor(utility, private) >= 100 * np.bincount(private).max() / len(private) - 1e-9


def toy_features(count: int, seed: int, label: str) -> LabelledFeatures:
    """Private label 0..2 in the mean of one channel each; utility label independent of it in the fourth."""
    generator = torch.Generator().manual_seed(seed)
    private = torch.randint(3, (count,), generator=generator)
    utility = torch.randint(2, (count,), generator=generator)
    clean = torch.zeros(count, 4, 2, 2)
    clean[torch.arange(count), private] = 3.0
    clean[:, 3] = 3.0 * utility[:, None, None]
    return LabelledFeatures(CachedFeatures(clean), utility if label == "utility" else private)


def head(outputs: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, outputs))


SHORT = Attack(max_epochs=12, patience=3, batch_size=32)


def run_fit(label, sigma, *, settings=SHORT, seed=0, network=None):
    steps = fit(
        network or head(1 if label == "utility" else 3),
        toy_features(600, 1, label),
        toy_features(200, 2, label),
        noise=GaussianNoise(sigma),
        settings=settings,
        precision=CPU,
        seed=seed,
    )
    return drained(steps, lambda accuracy: None)


def score(result, label, sigma, draws=4):
    return evaluate(
        result.network,
        toy_features(500, 3, label),
        noise=GaussianNoise(sigma),
        precision=CPU,
        generator=torch.Generator().manual_seed(9),
        draws=draws,
    ).accuracy


def test_an_attacker_reads_what_is_there_and_only_noise_stops_it():
    assert score(run_fit("private", 0.0), "private", 0.0) == 100
    assert score(run_fit("utility", 0.0), "utility", 0.0) == 100
    hidden = score(run_fit("private", 100.0), "private", 100.0)
    assert hidden < 45  # chance is a third


def test_convergence_keeps_the_best_epoch_and_stops_on_patience():
    result = run_fit("private", 0.0, settings=Attack(max_epochs=12, min_epochs=1, patience=3, batch_size=32))
    assert result.converged and len(result.curve) < 12
    best = max(range(len(result.curve)), key=result.curve.__getitem__)
    assert len(result.curve) - 1 - best == 3
    patient = run_fit("private", 0.0, settings=Attack(max_epochs=12, min_epochs=11, patience=3, batch_size=32))
    assert patient.converged and len(patient.curve) == 11
    capped = run_fit("private", 2.0, settings=Attack(max_epochs=2, min_epochs=1, patience=3, batch_size=32))
    assert not capped.converged and len(capped.curve) == 2


class Guesser(nn.Module):
    """Says the same of everything, whatever it is taught."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, z):
        return torch.tensor([0.0, 0.0, 1.0]).expand(len(z), 3) + 0 * self.bias


def test_a_network_that_only_guesses_is_not_taken_for_converged():
    settings = Attack(max_epochs=9, min_epochs=1, patience=2, batch_size=64)
    result = run_fit("private", 1.0, settings=settings, network=Guesser())
    assert not result.converged and len(result.curve) == 9


def test_same_seed_same_attack_other_seed_other_noise():
    assert run_fit("private", 2.0, seed=5).curve == run_fit("private", 2.0, seed=5).curve
    assert run_fit("private", 2.0, seed=5).curve != run_fit("private", 2.0, seed=6).curve


def test_every_sample_is_seen_once_in_an_order_of_the_generators():
    features = CachedFeatures(torch.zeros(50, 1, 1, 1))
    orders = []
    for seed in (0, 0, 1):
        seen = [rows for _, rows in features.batches(16, shuffle=torch.Generator().manual_seed(seed))]
        assert [len(b) for b in seen] == [16, 16, 16, 2]
        orders.append(torch.cat(seen).tolist())
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(50))


class CountingObfuscator(Obfuscator):
    """Passes images on as they are and counts how often it is asked."""

    def __init__(self):
        super().__init__(nn.Identity(), GaussianNoise(1.0))
        self.calls = 0

    def features(self, x):
        self.calls += 1
        return x


def digits_features(split, obfuscator, limit):
    content = DIGITS | {"splits": {"train_limit": 30, "validation_limit": 70}, "loader": "tensor"}
    return features_of(
        obfuscator,
        open_dataset(build(Pipeline, content, "test")),
        split,
        device=CPU.device,
        feature_shape=(3, 32, 32),
        seed=0,
        cache_limit_bytes=limit,
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NARL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def full_disk(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))


@pytest.mark.parametrize("shuffled", [False, True])
def test_streamed_features_are_those_of_the_cache_row_by_row(cache, full_disk, shuffled):
    obfuscator = CountingObfuscator()
    memory, streamed = (digits_features("validation", obfuscator, limit) for limit in (1 << 30, 0))
    assert isinstance(memory, CachedFeatures) and isinstance(streamed, StreamedFeatures)
    seen = []
    for clean, rows in streamed.batches(32, shuffle=torch.Generator().manual_seed(3) if shuffled else None):
        assert torch.equal(clean, memory.clean[rows])
        seen += rows.tolist()
    assert sorted(seen) == list(range(70)) and (seen != sorted(seen)) == shuffled


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_mapped_file_gives_the_batches_that_memory_gives_and_leaves_nothing(cache, shuffled):
    obfuscator = CountingObfuscator()
    memory, mapped = (digits_features("validation", obfuscator, limit) for limit in (1 << 30, 0))
    assert isinstance(mapped, CachedFeatures) and list(cache.iterdir()) == []
    before = obfuscator.calls
    epochs = [
        list(features.batches(32, shuffle=torch.Generator().manual_seed(3) if shuffled else None))
        for features in (memory, mapped)
    ]
    assert obfuscator.calls == before
    assert [len(batch[0]) for batch in epochs[0]] == [32, 32, 6]
    for ours, theirs in zip(*epochs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
        assert ours[0].stride() == theirs[0].stride()


def test_a_batch_holds_the_rows_of_its_order_whatever_the_memory_layout():
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(10, 4, 3, 2, generator=generator)
    for layout in (torch.contiguous_format, torch.channels_last):
        features = CachedFeatures(clean.to(memory_format=layout))
        for batch, rows in features.batches(4, shuffle=torch.Generator().manual_seed(1)):
            assert torch.equal(batch, clean[rows])
            assert batch.is_contiguous(memory_format=torch.channels_last)


def views(count: int, body: nn.Module, **augment):
    content = DIGITS | {"splits": {"train_limit": 30}, "loader": "tensor", "augment": augment}
    dataset, client = open_dataset(build(Pipeline, content, "test")), Obfuscator(body, GaussianNoise(1.0))
    how = {"device": CPU.device, "feature_shape": (3, 32, 32), "seed": 0}
    plain = features_of(client, dataset, "train", **how)
    return plain, training_views(plain, client, dataset, count=count, **how)


def images_of(features, epoch: int) -> torch.Tensor:
    """[N, C, H, W] in the order of the split, whatever that of the pass."""
    batches = list(features.batches(8, shuffle=torch.Generator().manual_seed(epoch), epoch=epoch))
    return torch.cat([clean for clean, _ in batches])[torch.cat([rows for _, rows in batches]).argsort()]


def test_attackers_see_images_as_they_are_and_changed_as_in_training():
    scale = nn.Conv2d(3, 3, 1, groups=3, bias=False)
    nn.init.ones_(scale.weight)
    plain, seen = views(3, scale, pad_crop=4)
    passes = [images_of(seen, epoch) for epoch in range(4)]
    assert torch.equal(passes[0], plain.clean) and torch.equal(passes[3], plain.clean)
    assert not torch.equal(passes[1], passes[0]) and not torch.equal(passes[1], passes[2])
    for images in passes:  # cropped, not replaced
        assert images.mean().item() == pytest.approx(plain.clean.mean().item(), rel=0.3)


def test_where_the_client_costs_nothing_every_changed_pass_is_new():
    plain, seen = views(3, nn.Identity(), pad_crop=4)
    passes = [images_of(seen, epoch) for epoch in range(5)]
    assert torch.equal(passes[0], plain.clean) and torch.equal(passes[3], plain.clean)
    assert not torch.equal(passes[1], passes[4])


@pytest.mark.parametrize(("count", "augment"), [(1, {"pad_crop": 4}), (4, {})])
def test_without_changes_there_is_one_view(count, augment):
    plain, seen = views(count, nn.Identity(), **augment)
    assert seen is plain
