"""What every attack of an evaluation has in common: it attacks one trained client and itself says what it found.

An attack is a subclass of `Finding` in a file of its own and one line of `narl.attacks.catalogue.FINDINGS`. What it
says reaches reports, summaries over seeds with their intervals, printed doubts, figures of rebuilt images and MLflow.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Generator as Steps
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from torch import Tensor

from narl.attacks.leakage import Leakage
from narl.attacks.target import Reading, Target
from narl.config.trial import AttackConfig
from narl.core.hashing import stable_hash
from narl.data.dataset import Dataset

Numbers = Mapping[str, Any]  # ready for JSON
LONGEST_NAME = 200  # characters of a metric


@dataclass(frozen=True)
class Case:
    """One trained client under evaluation, and what is asked.

    Attributes:
        config: of the client; its `audit` names further label columns.
        target: the client and its features.
        leakage: what adversaries read of one answer, in the end.
        attacks: names of those that were asked for.
        queries: numbers of answers to one image, 1 to infinity.
        second_attempts: whether suspect adversaries are trained again, see `narl.attacks.second_attempts`.
        readers: networks that read clean images, by architecture (see `narl.attacks.reader`). Cases under the same
            settings share them: the first that needs one trains it and adds it.
    """

    config: AttackConfig
    target: Target
    leakage: Leakage
    attacks: tuple[str, ...]
    queries: tuple[float, ...]
    second_attempts: bool = True
    readers: dict[str, Reading] = field(default_factory=dict)


class AttackStep(Protocol):
    """A step of an attack: its number, and what it came to in words."""

    @property
    def epoch(self) -> int: ...

    @property
    def detail(self) -> str: ...


class Samples(Protocol):
    """Every seed's values by image in resamples of images and seeds.

    Letters: R resamples, S seeds.

    Attributes:
        floor: the label floor, percent.
        utility, leakage: [R, S], percent; leakage of the strongest adversary of each resample, not below the floor, not
            above the bound.
        strongest: [R, S], percent that the strongest adversary of each resample reads.
    """

    floor: float
    utility: np.ndarray
    leakage: np.ndarray
    strongest: np.ndarray

    def bound(self, queries: str) -> np.ndarray | float:
        """Give [R, S]: what nobody exceeds with so many answers, percent; 100 if no bound is known."""

    def names(self, prefix: str) -> Sequence[str]:
        """List the names in `per_image` that begin with `prefix`."""

    def means(self, name: str) -> np.ndarray:
        """Give [R, S]: each seed's mean of `per_image[name]` over each resample's images."""

    def mean(self, name: str) -> float:
        """Give the mean of `per_image[name]` over images and seeds."""

    def interval(self, by_seed: np.ndarray, least: float, most: float) -> tuple[float, float]:
        """Compute the 95 % interval of the mean over seeds of [R, S], clipped to [least, most]."""


@dataclass(frozen=True)
class Part:
    """What one attack adds to a summary over seeds.

    Attributes:
        entries: of the report, by name.
        interval95: of its `interval95`, beside those of utility and leakage.
    """

    entries: dict[str, Any]
    interval95: dict[str, Any] = field(default_factory=dict)


class Finding(ABC):
    """What one attack found of one client.

    Attributes:
        name: what `--attacks` calls it, and its entry in reports.
        on_request: False: it runs wherever it applies, whatever `--attacks` says.
    """

    name: ClassVar[str]
    on_request: ClassVar[bool] = True

    @classmethod  # noqa: B027 (a default: most check nothing)
    def check(cls, config: AttackConfig, dataset: Dataset) -> None:
        """Refuse what cannot be attacked before anything is trained.

        Raises:
            NarlError: what is wrong.
        """

    @classmethod
    @abstractmethod
    def find(cls, case: Case) -> Steps[AttackStep, None, Self | None]:
        """Attack; None where there is nothing to attack.

        Raises:
            DivergedTraining: a loss is not finite.
        """

    @abstractmethod
    def numbers(self) -> dict[str, Any]:
        """Give the entries of the seed's report, ready for JSON; one has the attack's own name."""

    def per_image(self) -> dict[str, Tensor]:
        """Give what intervals are made of: [N] by name, a value per image, in the unit of the number that is its mean.

        Names begin with the attack's own and a slash, unless `summarise` looks for others.
        """
        return {}

    def doubts(self) -> Iterable[str]:
        """Give reasons not to trust the numbers, in words."""
        return ()

    def pictures(self) -> dict[str, Tensor]:
        """Give the rows of a figure: uint8 [K, S, S, 3] by name, the images themselves as `original`."""
        return {}

    @classmethod
    def summarise(cls, each: Sequence[Numbers], samples: Samples) -> Part:
        """Summarise several seeds: the mean of every number, and an interval of each that has values by image.

        Args:
            each: the reports' entries, one per seed.
        """
        entry = mean_of_numbers([numbers[cls.name] for numbers in each])
        prefix = f"{cls.name}/"
        intervals = {
            name.removeprefix(prefix): samples.interval(samples.means(name), -np.inf, np.inf)
            for name in samples.names(prefix)
        }
        return Part({cls.name: {**entry, "interval95": intervals} if intervals else entry})

    @classmethod
    def scalars(cls, entries: Numbers) -> dict[str, float]:
        """Pick the numbers to plot from a summary's entries; names hold letters, digits, `_`, `-` and `.` only."""
        return flattened(cls.name, entries[cls.name])


def mean_of_numbers(rows: Sequence[Numbers]) -> dict[str, Any]:
    """Average every float, in nested mappings too; take the first of everything else."""
    return {key: _mean([row[key] for row in rows]) for key in rows[0]}


def _mean(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, Mapping):
        return mean_of_numbers(values)
    if isinstance(first, float) and any(value != first for value in values):
        return float(np.mean(values))
    return first


def numbers_in(entry: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], float]:
    """Collect every float in nested mappings, by the keys that lead to it; intervals are left out."""
    if isinstance(entry, Mapping):
        inner = [numbers_in(value, (*path, key)) for key, value in entry.items() if key != "interval95"]
        return {key: number for one in inner for key, number in one.items()}
    return {path: entry} if isinstance(entry, float) else {}


def flattened(name: str, entry: Any) -> dict[str, float]:
    """Collect the same, each under one flat name that begins with `name`."""
    return {plain("_".join(path)): number for path, number in numbers_in(entry, (name,)).items()}


def plain(name: str) -> str:
    """Write `name` in characters that every store of metrics accepts; names that differ stay different."""
    name = name.replace("∞", "infinite")
    written = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:LONGEST_NAME]
    return written if name.replace(" ", "_") == written else f"{written}_{stable_hash(name)[:6]}"
