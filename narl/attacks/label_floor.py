"""What the utility label alone gives away: an attacker who sees the service's answers reads at least this."""

from __future__ import annotations

import numpy as np


def label_floor(utility: np.ndarray, private: np.ndarray) -> float:
    """Compute the accuracy in percent of the best guess of the private label from the utility label: Σ_u max_p P(u, p).

    Args:
        utility, private: [N] integer labels from 0.

    Returns:
        A percentage, at least the largest private class's share. CIFAR-10, living or not against ten classes: 20.0.
    """
    counts = np.zeros((int(utility.max()) + 1, int(private.max()) + 1), dtype=np.int64)
    np.add.at(counts, (np.asarray(utility), np.asarray(private)), 1)
    return 100.0 * float(counts.max(axis=1).sum()) / len(utility)


def leakage_of(read: float, floor: float, bound: float) -> float:
    """Compute leakage from what was read, all in percent: not below the floor, unless nobody can reach that.

    Args:
        read: by the strongest adversary.
        bound: what nobody who has z alone exceeds; 100 if none is known.
    """
    return min(max(read, floor), bound)
