"""Which images train, which ones choose, and which ones only the final evaluation sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from narl.config.pipeline import Splits

SPLITS = ("train", "validation", "test")


def split_indices(
    strata: np.ndarray, subsets: Sequence[str | None], config: Splits, groups: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Split into sorted, disjoint int64 positions for train, validation and test; without limits they cover all.

    A subset that the source brings is kept; the missing ones are drawn from what is not test or validation.

    Args:
        strata: int64 [N], images of one stratum are spread over the splits in proportion.
        subsets: N times train, validation, test, or None where the source leaves it open.
        groups: int64 [N], images of one group are drawn together; None where each is drawn by itself.
    """
    generator = np.random.default_rng(config.seed)
    given = np.array([subset or "" for subset in subsets])
    parts = {name: np.flatnonzero(given == name) for name in SPLITS}
    rest = np.flatnonzero((given == "") | (given == "train"))
    for name, fraction, keep in (("test", config.test, 2), ("validation", config.validation, 1)):
        if not len(parts[name]):
            if groups is None:
                parts[name], rest = _take_fraction(rest, strata, fraction, keep, generator)
            else:
                parts[name], rest = _take_groups(rest, strata, groups, fraction, keep, generator)
    parts["train"] = rest
    for name in SPLITS:
        limit = getattr(config, f"{name}_limit")
        if limit is not None and limit < len(parts[name]):
            parts[name] = _take_count(parts[name], strata, limit, generator)
    return {name: np.sort(parts[name]) for name in SPLITS}


def _take_fraction(
    pool: np.ndarray, strata: np.ndarray, fraction: float, keep: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return (taken, left): of each stratum the rounded fraction; `keep` are left and, if there are more, one taken."""
    taken, left = [pool[:0]], [pool[:0]]
    for members in _shuffled_strata(pool, strata, generator):
        count = max(0, min(max(1, round(fraction * len(members))), len(members) - keep))
        taken.append(members[:count])
        left.append(members[count:])
    return np.concatenate(taken), np.concatenate(left)


def _take_groups(
    pool: np.ndarray,
    strata: np.ndarray,
    groups: np.ndarray,
    fraction: float,
    keep: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (taken, left): whole groups, so that about the fraction of each stratum is taken; `keep` groups are left.

    If there are more, at least one is taken. Largest groups first, in random order among equals, each if it brings the
    strata nearer to their targets (squared distance over the target, as in Pearson's statistic).
    """

    def farther(i: int) -> float:
        """Compute how much farther from the target this group would bring us."""
        kinds, counts = np.unique(strata[members[i]], return_counts=True)
        return float((counts * (counts - 2 * lacking[kinds]) / wanted[kinds]).sum())

    _, group, sizes = np.unique(groups[pool], return_inverse=True, return_counts=True)
    members = np.split(pool[np.argsort(group, kind="stable")], np.cumsum(sizes)[:-1])
    wanted = np.maximum(1.0, fraction * np.bincount(strata[pool], minlength=strata.max(initial=0) + 1))
    lacking = wanted.copy()
    order = generator.permutation(len(sizes))
    spare = max(0, len(sizes) - keep)
    taken: list[int] = []
    for i in order[np.argsort(-sizes[order], kind="stable")]:
        if len(taken) < spare and farther(i) < 0:
            taken.append(i)
            lacking -= np.bincount(strata[members[i]], minlength=len(lacking))
    if spare and not taken:
        taken.append(min(order, key=farther))
    is_taken = np.isin(group, taken)
    return pool[is_taken], pool[~is_taken]


def _take_count(pool: np.ndarray, strata: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Take exactly `count` images, the strata in proportion (largest remainders, ties at random)."""
    groups = _shuffled_strata(pool, strata, generator)
    quota = np.array([len(group) for group in groups]) * (count / len(pool))
    seats = np.floor(quota + 1e-9).astype(int)
    order = np.lexsort((generator.permutation(len(groups)), -np.round(quota - seats, 9)))
    seats[order[: count - seats.sum()]] += 1
    return np.concatenate([group[:n] for group, n in zip(groups, seats, strict=True)])


def _shuffled_strata(pool: np.ndarray, strata: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
    """List the members of each stratum present in `pool`, in random order."""
    shuffled = generator.permutation(pool)
    by_stratum = shuffled[np.argsort(strata[shuffled], kind="stable")]
    if not len(pool):
        return []
    return np.split(by_stratum, np.flatnonzero(np.diff(strata[by_stratum])) + 1)
