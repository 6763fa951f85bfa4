"""Sound noise passes, and each way in which a client could break its promise is found by the check that names it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from every_noise import EVERY_NOISE, SHAPE

from narl.export import noise_check
from narl.export.noise_check import check_standard_normal
from narl.export.noise_graph import drawn

ANSWERS, WIDTH = 300, 384


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape)


def failed(values: np.ndarray) -> set[str]:
    return {check.name for check in check_standard_normal(values) if not check.passed}


def laplace(values: np.ndarray) -> np.ndarray:
    return np.random.default_rng(1).laplace(0, np.sqrt(0.5), values.shape)


def second_half_repeats(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[:150], values[:150]])


def one_value_silent(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[:, 5] = 0.01 * values[:, 5]
    return values


def one_value_shifted(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[:, 5] += 0.5
    return values


def two_values_alike(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[:, 7] = 0.6 * values[:, 7] + 0.8 * values[:, 9]
    return values


def each_answer_drifts(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    for row in range(1, len(values)):
        values[row] = 0.1 * values[row - 1] + np.sqrt(0.99) * values[row]
    return values


@pytest.mark.parametrize("shape", [(ANSWERS, WIDTH), (ANSWERS, 1), (100, 10), (60, 2000)])
def test_independent_normal_values_pass(shape):
    assert failed(normal(*shape)) == set()


@pytest.mark.parametrize(
    ("broken", "by"),
    [
        (lambda values: 1.02 * values, "σ"),
        (lambda values: 0.98 * values, "σ"),
        (laplace, "distribution"),
        (second_half_repeats, "between answers"),
        (one_value_silent, "σ and mean of each value"),
        (one_value_shifted, "σ and mean of each value"),
        (two_values_alike, "between values"),
        (each_answer_drifts, "answers that follow each other"),
    ],
)
def test_each_broken_promise_is_found(broken, by):
    assert by in failed(broken(normal(ANSWERS, WIDTH)))


@pytest.mark.parametrize("name", [name for name, make in EVERY_NOISE.items() if make().hides or name == "bank"])
def test_what_any_noise_adds_becomes_standard_normal(name):
    """And only if it is the claimed noise: of another scale it is not."""
    claimed = EVERY_NOISE[name]()
    kind, shape, add = drawn(claimed, SHAPE)
    generator = torch.Generator().manual_seed(3)
    clean = torch.rand(1, *SHAPE, generator=generator).expand(2000, *SHAPE)
    if kind == "member":
        draws = torch.eye(shape[0], dtype=torch.float64)[torch.randint(shape[0], (2000,), generator=generator)]
    else:
        draws = torch.randn(2000, *shape, generator=generator, dtype=torch.float64)
    sent = add(clean, draws).detach()
    assert failed(noise_check._standardised(claimed, clean.numpy(), sent.numpy())) == set()
    # Always the same member, or more noise.
    sent = sent[:1].expand_as(sent) if kind == "member" else add(clean, 1.1 * draws).detach()
    assert failed(noise_check._standardised(claimed, clean.numpy(), sent.numpy()))
