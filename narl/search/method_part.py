"""One method's part of the affordable space, a space of its own: names, distributions and draws from them."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from optuna.distributions import CategoricalDistribution, IntDistribution

from narl.core.point import Point
from narl.sampler.front_sampler import drawn
from narl.search.distributions import Distribution, all_values, count, distribution_of_splits, first_value

# Of a range of whole numbers, so many are drawn.
NUM_SIZES = 12


@dataclass(frozen=True)
class MethodPart:
    """What one method proposes.

    Attributes:
        split_points: those within every budget, by architecture; 0 alone where the method has none.
        values: `sigma`, `lambda`, `bound` and `noise` if they are searched, and the method's settings.
        seed: of every trial.
        clip_rms: where the features' bound is `l2-clip`.
        sigma_inference: of every trial.
    """

    method: str
    split_points: dict[str, tuple[int, ...]]
    values: dict[str, Distribution]
    seed: int
    clip_rms: float = 1.0
    sigma_inference: Literal["best"] | None = None

    @functools.cached_property
    def distributions(self) -> dict[str, Distribution]:
        """Of `arch`, `split.ARCH` of each architecture and the `values`, those of a single value too."""
        return {
            "arch": CategoricalDistribution(tuple(self.split_points)),
            **{f"split.{arch}": distribution_of_splits(points) for arch, points in self.split_points.items()},
            **self.values,
        }

    @property
    def num_points(self) -> float:
        """The number of distinct configurations; infinite if a value is continuous."""
        clients = sum(len(points) for points in self.split_points.values())
        return clients * math.prod(count(distribution) for distribution in self.values.values())

    def points(self) -> Iterator[Point]:
        """Yield every configuration, if there are finitely many."""
        names = tuple(self.values)
        for arch, splits in self.split_points.items():
            for split, *values in itertools.product(splits, *(all_values(self.values[name]) for name in names)):
                yield self.config(arch, split, dict(zip(names, values, strict=True)))

    def propose(self, draw: Callable[[str], Any], *, conditional: bool) -> Point:
        """Build a configuration from draws for the names of `distributions`; see `AffordableSpace.propose`."""
        arch = draw("arch")
        splits = {name: draw(f"split.{name}") for name in self.split_points if name == arch or not conditional}
        return self.config(arch, splits[arch], {name: draw(name) for name in self.values})

    def draw(self, random: np.random.Generator) -> dict[str, Any]:
        """Draw what `propose` asks for, by the names of `distributions`; sizes (widths, say) from few that are apart."""
        arch = tuple(self.split_points)[random.integers(len(self.split_points))]
        values = {
            name: int(random.choice(sizes)) if (sizes := self._sizes.get(name)) else drawn(distribution, random)
            for name, distribution in self.values.items()
        }
        return {"arch": arch, f"split.{arch}": drawn(self.distributions[f"split.{arch}"], random), **values}

    @functools.cached_property
    def _sizes(self) -> dict[str, list[int]]:
        """Whole numbers with a range, by name: each has a cost of its own, which takes milliseconds to count."""
        return {
            name: sorted({round(size) for size in np.geomspace(max(1, value.low), value.high, NUM_SIZES)} | {value.low})
            for name, value in self.values.items()
            if isinstance(value, IntDistribution) and value.high - value.low > NUM_SIZES
        }

    def parameters(self, config: Point | None, *, conditional: bool) -> dict[str, Any]:
        """Return what `draw` must give for `propose` to return `config`; without one, anything legal."""
        values = {name: first_value(distribution) for name, distribution in self.distributions.items()}
        if config is None:
            return values
        values |= {"arch": config.arch, f"split.{config.arch}": config.split}
        values |= {"sigma": config.sigma, "lambda": config.lambda_}
        values |= {name: getattr(config, name) for name in ("bound", "noise") if name in self.values}
        for name, value in config.settings.items():
            values[name] = int(value) if isinstance(self.values[name], IntDistribution) else value
        others = {f"split.{arch}" for arch in self.split_points if arch != config.arch and conditional}
        return {name: value for name, value in values.items() if name not in others}

    def config(self, arch: str, split: int, values: Mapping[str, Any]) -> Point:
        values = dict(values)
        sigma, lambda_ = values.pop("sigma"), values.pop("lambda")
        bound, noise = values.pop("bound", "none"), values.pop("noise", "fresh")
        return Point(
            arch=arch,
            split=split,
            sigma=sigma,
            lambda_=lambda_,
            seed=self.seed,
            method=self.method,
            settings=values,
            bound=bound,
            clip_rms=self.clip_rms if bound == "l2-clip" else None,
            noise=noise,
            sigma_inference=self.sigma_inference,
        )
