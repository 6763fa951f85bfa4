"""Every method on the same images, architecture and budget, evaluated alike: Tables 1 and 3 of the paper, row by row.

A row's seeds are written to disk as they finish, named by everything that decides them, so an interrupted comparison
continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from narl import __version__
from narl.attacks.queries import name_of
from narl.config.pipeline import Pipeline
from narl.config.trial import Attack, TrainConfig, Training
from narl.core.hashing import stable_hash
from narl.core.method_options import METHODS, MethodOptions
from narl.core.point import Point
from narl.data.dataset import Dataset
from narl.evaluation.evaluator import Evaluator
from narl.evaluation.published import PublishedImages, PublishedRow, published_images, published_row
from narl.evaluation.seed import Pictures, Seed
from narl.models.zoo import architecture
from narl.trial import Progress

UPPER_BOUND = "upper bound"


@dataclass(frozen=True)
class Row:
    """One configuration to compare. Its name is the paper's row: a method, and its split where there are several."""

    name: str
    config: TrainConfig

    @property
    def published(self) -> PublishedRow | None:
        return published_row(self.config.pipeline.name, self.name)

    @property
    def published_images(self) -> PublishedImages | None:
        return published_images(self.config.pipeline.name, self.name)


@dataclass(frozen=True)
class Setting:
    """What the rows of a comparison share.

    Attributes:
        splits: of the methods that the paper shows at several; the others take the first, MaxEnt the last of all.
        sigma, lambda_: of every method that has them.
        image_sigma: of noise on images; None: the published value for their size.
        deepobfuscator_client: its (architecture, split).
    """

    pipeline: Pipeline
    arch: str
    splits: tuple[int, ...]
    sigma: float
    lambda_: float
    image_sigma: float | None
    deepobfuscator_client: tuple[str, int]
    training: Training
    attack: Attack


def rows_of(setting: Setting, methods: Sequence[str]) -> list[Row]:
    """List the upper bound of §4.2 (whole networks on clean images), then each method in the order of the catalogue."""
    rows = [_row(setting, UPPER_BOUND, "image_noise", arch=setting.arch, split=0, sigma=0.0)]
    for method in (name for name in METHODS if name in methods):
        for arch, split in _clients(setting, METHODS[method]):
            name = f"{method} {split}" if METHODS[method].compared_at == "each" else method
            rows.append(_row(setting, name, method, arch=arch, split=split))
    return rows


def _clients(setting: Setting, options: MethodOptions) -> list[tuple[str, int]]:
    """List (architecture, split point) of each row of a method."""
    if not options.uses_split:
        return [(setting.arch, 0)]
    last = architecture(setting.arch).split_points[-1]
    return {
        "each": [(setting.arch, split) for split in setting.splits],
        "first": [(setting.arch, setting.splits[0])],
        "last": [(setting.arch, last)],
        "own": [setting.deepobfuscator_client],
    }[options.compared_at]


def _row(setting: Setting, name: str, method: str, *, arch: str, split: int, sigma: float | None = None) -> Row:
    options = METHODS[method]
    published = options.published_at(setting.pipeline.image.size)
    published_sigma = published.pop("sigma", None)
    point: dict[str, Any] = {"method": method, "arch": arch, "split": split, "settings": published}
    if options.uses_sigma:
        own = setting.sigma if published_sigma is None else setting.image_sigma or published_sigma
        point["sigma"] = own if sigma is None else sigma
    if options.uses_lambda:
        point["lambda"] = setting.lambda_
    config = TrainConfig(
        pipeline=setting.pipeline, trial=Point(**point), training=setting.training, attack=setting.attack
    )
    return Row(name, config)


class ComparisonSeeds:
    """A comparison's seeds on disk, by row and seed, in files named by everything that decides them.

    Args:
        folder: of the comparison; its seeds are in `seeds`.
        bounds_folder: where comparisons of the same images share the upper bound's seeds, which no method's setting
            changes.
        evaluator: measures the seeds.
    """

    def __init__(
        self, rows: Iterable[Row], folder: Path, evaluator: Evaluator, bounds_folder: Path | None = None
    ) -> None:
        self._rows, self._folder, self._evaluator = {row.name: row for row in rows}, folder / "seeds", evaluator
        self._shared = None if bounds_folder is None else bounds_folder / _labels_hash(evaluator.dataset)

    def load(self, row: str, number: int) -> Seed | None:
        """Load a seed; None if it was not measured yet.

        Raises:
            DataError: it is damaged.
        """
        places = self._places(row, number)
        kept = next((place for place in places if place.exists()), None)
        if kept is None:
            return None
        seed = Seed.load(kept)
        if kept != places[0]:
            seed.save(places[0])
        return seed

    def save(self, row: str, number: int, seed: Seed) -> None:
        for place in self._places(row, number):
            seed.save(place)

    def _places(self, row: str, number: int) -> list[Path]:
        name = _file_name(self._rows[row], number, self._evaluator.attacks, self._evaluator.queries)
        shared = [self._shared / name] if self._shared is not None and row == UPPER_BOUND else []
        return [self._folder / name, *shared]


def compare(
    rows: Iterable[Row],
    evaluator: Evaluator,
    seeds: ComparisonSeeds,
    *,
    num_seeds: int,
    on_progress: Callable[[str, int, Progress], None] = lambda row, seed, step: None,
) -> dict[str, dict[int, Seed]]:
    """Collect the seeds from 0 of each row, by its name; those that are not kept are measured.

    Raises:
        ConfigError: a row is illegal for these images.
        DataError: what was kept of a seed is damaged.
        DivergedTraining: a loss diverged.
    """
    configs = {row.name: row.config for row in rows}
    return evaluator.measure_seeds(configs, range(num_seeds), kept=seeds, on_progress=on_progress)


def pictures_of(found: Mapping[str, Mapping[int, Seed]]) -> Pictures:
    """Collect the first seed's images, a row per attack on a method; empty if no attack rebuilt any."""
    shown: Pictures = {}
    for row, seeds in found.items():
        for name, images in next(iter(seeds.values())).pictures.items():
            shown[name if name in ("original", "mean image") else f"{row}, {name}"] = images
    return shown


def _labels_hash(dataset: Dataset) -> str:
    """Hash the labels: the user's copy of the images may have other samples, which no configuration tells."""
    splits = ("train", "validation", "test")
    return stable_hash([[column.tolist() for column in dataset.labels(split)] for split in splits])


def _file_name(row: Row, seed: int, attacks: Sequence[str], queries: Sequence[float]) -> str:
    content = row.config.with_seed(seed).model_dump(mode="json", by_alias=True)
    content["pipeline"] = row.config.pipeline.content_hash, row.config.pipeline.augment.model_dump(mode="json")
    digest = stable_hash([content, sorted(attacks), [name_of(n) for n in queries], __version__])
    return f"{row.name.replace(' ', '-')}-seed{seed}-{digest}.json"
