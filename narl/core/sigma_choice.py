"""Which σ of its noise a trained client adds, chosen from what is read of it in closed form at several; and which it had."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from narl.core.records import SigmaLevel, TrialRecord


def best_sigma(
    profile: Sequence[SigmaLevel], guess: float = 0.0, missed: Callable[[SigmaLevel], float] = lambda level: 0.0
) -> float:
    """Choose the σ of the largest Δ; among several the largest, which hides most.

    Args:
        guess: a utility up to this percent is a guess, and its Δ counts only if all are guesses.
        missed: points by which a level may miss constraints; it counts only if all may, and none by less.
    """

    def worth(level: SigmaLevel) -> tuple[bool, float, float, float]:
        return level.utility > guess, -round(missed(level), 2), round(level.delta, 2), level.sigma

    return max(profile, key=worth).sigma


def trained_and_used(record: TrialRecord) -> tuple[float, float]:
    """Give σ of the noise in training, and of the client that was measured; the trial must have a profile.

    Where a configuration has no σ, the noise was learned and its own σ is the middle of the profile's grid.
    """
    m = record.measured
    trained = record.config.sigma or m.sigma_profile[len(m.sigma_profile) // 2].sigma
    return trained, trained if m.sigma_inference is None else m.sigma_inference
