"""Which configurations are recorded, and in which order: any beginning of the list is a fair sample of its space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from narl.config.search_space import SearchSpace
from narl.core.point import Point

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]

SIGMAS = tuple(float(f"{value:.3g}") for value in np.geomspace(3, 20, 8))
LAMBDAS = tuple(float(f"{value:.3g}") for value in np.geomspace(0.001, 1, 7))
# Recorded again with seeds 1 and 2, so that a front can be asked how much of it is luck.
AGAIN, SEEDS = 60, 3


@dataclass(frozen=True)
class Recorded:
    """A space that is recorded.

    Attributes:
        space: whose training, attacks and images are used; its σ and λ are replaced by the grid.
        clients: architecture and split point.
        sigma_inference: of every point.
    """

    space: Path
    clients: tuple[tuple[str, int], ...]
    sigma_inference: str | None = "best"

    def load(self) -> SearchSpace:
        return SearchSpace.load(self.space)

    def points(self) -> list[Point]:
        """Every configuration, then some of them with further seeds."""
        grid = [
            self._point(client, sigma, lambda_, 0) for client in self.clients for sigma in SIGMAS for lambda_ in LAMBDAS
        ]
        order = np.random.default_rng(0).permutation(len(grid))
        shuffled = [grid[i] for i in order]
        again = [
            Point.from_json({**point.to_json(), "seed": seed}) for seed in range(1, SEEDS) for point in shuffled[:AGAIN]
        ]
        return [*shuffled, *again]

    def _point(self, client: tuple[str, int], sigma: float, lambda_: float, seed: int) -> Point:
        row = {"arch": client[0], "split": client[1], "sigma": sigma, "lambda": lambda_, "seed": seed}
        return Point.from_json({**row, "sigma_inference": self.sigma_inference})


SPACES = {
    # The clients of the embedded search.
    "digits": Recorded(
        REPOSITORY / "search_spaces" / "digits.yaml",
        (
            *(("mobilenet_v3_small", split) for split in (3, 5, 6, 8, 12)),
            ("shufflenet_v2_x1_0", 3),
            ("mobilenet_v2", 16),
        ),
    ),
    "digits_resnet18": Recorded(
        REPOSITORY / "search_spaces" / "digits.yaml", tuple(("resnet18", split) for split in (1, 2, 3, 4))
    ),
}
