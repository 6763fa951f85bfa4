"""How much a trial is expected to enlarge the front: exact, because only one of its objectives is not known before.

Let a candidate have known costs c and an unknown value Y ~ N(μ, s²), larger being better. What it adds to the volume
that the front dominates is ∫ A(t) over t up to Y, where A(t) is what of the box between c and the reference no member of
value above t dominates. A is constant between the values of neighbouring members, so the expectation is a sum of
one-dimensional expected improvements:

    E[gain] = Σ_k A_k · (EI(t_k) − EI(t_{k+1})),    EI(t) = E[max(Y − t, 0)] = s·φ(u) + (μ − t)·Φ(u),    u = (μ − t) / s.

Expected hypervolume improvement (Emmerich, Giannakoglou and Naujoks, IEEE TEC 10(4), 2006) with all objectives but one
without uncertainty.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from narl.core.pareto import Front, hypervolume

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class Steps:
    """A(t) for the costs of one client.

    Args:
        costs: c, smaller is better.
        front: costs and value of each member, in any order; dominated ones do no harm.
        reference: costs at which nothing is gained.
        worst: value at which nothing is gained.
    """

    def __init__(
        self,
        costs: Sequence[float],
        front: Sequence[tuple[Sequence[float], float]],
        reference: Sequence[float],
        worst: float,
    ) -> None:
        # A member that costs more in some respect still covers what lies behind both.
        boxes: dict[float, list[tuple[float, ...]]] = {}
        for member, value in front:
            if value > worst:
                boxes.setdefault(value, []).append(tuple(map(max, costs, member)))
        values = sorted(boxes)
        whole = hypervolume([costs], reference) if costs else 1.0
        areas, above, number = [whole], Front[int](), itertools.count()
        for value in reversed(values):
            grown = [above.add(box, next(number)) for box in boxes[value]]
            covered = hypervolume(above.rows, reference) if costs else 1.0
            areas.append(whole - covered if any(grown) else areas[-1])
        self.thresholds: Array = np.array([worst, *values])
        self.areas: Array = np.array(areas[::-1])

    def expected(self, mean: Array, std: Array) -> Array:
        """Compute the expected gain of candidates with these costs, by mean and standard deviation (> 0), each [N]."""
        improvement = _expected_improvement(mean[:, None], std[:, None], self.thresholds)
        above = np.concatenate([improvement[:, 1:], np.zeros((len(mean), 1))], axis=1)
        return np.asarray((improvement - above) @ self.areas)


def _expected_improvement(mean: Array, std: Array, threshold: Array) -> Array:
    u = (mean - threshold) / std
    return np.asarray(std * (norm.pdf(u) + u * norm.cdf(u)))
