"""How well every known image explains an answer, for blocks of answers under several noises: log p(z_a | image j).

There are two ways: noise that a linear map makes white needs only inner products (`narl.attacks.exact.geometry`), the
same for all its levels; any other noise is drawn and scored by its own `scores`. Only one block of answers exists at a
time.

Letters: M images of the gallery, N images that answers are about, B answers of a block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from narl.attacks.exact.geometry import Geometry
from narl.models.noise.base import Noise, WhitenedNoise

# Of a block of answers times images, in float32: 32 MiB on a CPU, rows enough for fast products, more where launching
# costs more.
_BLOCK_VALUES = {"cpu": 1 << 23, "cuda": 1 << 27}


@dataclass(frozen=True)
class Block:
    """Answers to one level of noise.

    Attributes:
        rows: int64 [B], the image that each answer is about.
        level: position of their noise among those asked for.
        scores: float [B, M], log p(z | image j) up to a constant of the answer's own; of noise that does not hide −½ d²
            in units of `Geometry.unit`. The caller may overwrite them.
        share: of all draws of `Evidence.blocks` at this level, 1 / draws.
    """

    rows: Tensor
    level: int
    scores: Tensor
    share: float


class Evidence:
    """Answers under each of `noises` about `asked`, compared with `gallery`.

    Args:
        noises: at least one; averages and rescalings of one white noise share their inner products.
        gallery: clean features [M, C, h, w].
        asked: [N, C, h, w], on the same device; may be `gallery` itself.

    Raises:
        DivergedTraining: features that are not finite.
    """

    def __init__(self, noises: Sequence[Noise], gallery: Tensor, asked: Tensor) -> None:
        self.noises, self._gallery, self._asked = tuple(noises), gallery, asked
        self._groups = _groups(self.noises, gallery)
        self._geometries: dict[int, Geometry] = {}

    def blocks(self, draws: int, generator: Generator) -> Iterator[Block]:
        """Ask about every image `draws` times under each noise, or once where all answers are the same."""
        for group in self._groups:
            white = self._is_white(group[0])
            yield from self._white(group, draws, generator) if white else self._drawn(group[0], draws, generator)

    def num_blocks(self, draws: int) -> int:
        """Count what `blocks` yields."""
        return sum(1 for noise in self.noises for _, rounds in self._parts(self._draws(noise, draws)) for _ in rounds)

    def gap(self, level: int, count: int = 256) -> float | None:
        """Measure how far the images asked about are from the gallery: −2 · the best score of an answer without noise.

        The median of the first `count`; None if the noise cannot be taken out of the scores.
        """
        noise = self.noises[level]
        if self._is_white(level):
            geometry = self._geometry(level)
            distances = geometry.clean(slice(0, count))[1]
            return distances.median().item() / (self._relative(level) ** 2 if noise.hides else 1.0)
        if noise.hides:
            return None
        answers = noise(self._asked[:count], Generator(self._asked.device).manual_seed(0)).detach()
        return -2 * noise.scores(self._gallery)(answers).amax(1).median().item()

    def _white(self, group: Sequence[int], draws: int, generator: Generator) -> Iterator[Block]:
        geometry = self._geometry(group[0])
        hiding = [level for level in group if self.noises[level].hides]
        for rows, rounds in self._parts(draws):
            clean, _ = geometry.clean(rows)
            positions = torch.arange(len(self._asked), device=clean.device)[rows]
            for level in set(group) - set(hiding):
                yield Block(positions, level, clean.clone(), 1.0)
            for count in rounds if hiding else ():
                noise = geometry.noise(count * len(clean), generator)
                for level in hiding:
                    scores = _scores(clean, noise.view(count, *clean.shape), self._relative(level))
                    yield Block(positions.repeat(count), level, scores, 1 / draws)

    def _drawn(self, level: int, draws: int, generator: Generator) -> Iterator[Block]:
        noise = self.noises[level]
        total, of = self._draws(noise, draws), noise.scores(self._gallery)
        positions = torch.arange(len(self._asked), device=self._asked.device)
        for rows, rounds in self._parts(total):
            for count in rounds:
                about = positions[rows].repeat(count)
                yield Block(about, level, of(noise(self._asked[about], generator).detach()), 1 / total)

    def _draws(self, noise: Noise, draws: int) -> int:
        return draws if noise.hides or noise.is_random else 1

    def _is_white(self, level: int) -> bool:
        return isinstance(self.noises[level], WhitenedNoise)

    def _white_noise(self, level: int) -> WhitenedNoise:
        noise = self.noises[level]
        assert isinstance(noise, WhitenedNoise)
        return noise

    def _relative(self, level: int) -> float:
        """Spread of the noise in the geometry's unit."""
        return self._white_noise(level).spread / self._geometry(level).unit

    def _geometry(self, level: int) -> Geometry:
        group = next(group for group in self._groups if level in group)
        if group[0] not in self._geometries:
            noise = self._white_noise(group[0])
            gallery = _matrix(noise.whitened(self._gallery))
            asked = gallery if self._asked is self._gallery else _matrix(noise.whitened(self._asked))
            spreads = (self._white_noise(each).spread for each in group if self.noises[each].hides)
            least = min(spreads, default=0.0)
            self._geometries[group[0]] = Geometry(gallery, asked, least)
        return self._geometries[group[0]]

    def _parts(self, draws: int) -> Iterator[tuple[slice, list[int]]]:
        """Yield slices of images, and how often each is asked about in block after block, `draws` times in all."""
        values = _BLOCK_VALUES.get(self._gallery.device.type, _BLOCK_VALUES["cuda"])
        step = max(1, min(len(self._asked), values // len(self._gallery)))
        together = min(draws, max(1, values // (step * len(self._gallery))))
        rounds = [min(together, draws - done) for done in range(0, draws, together)]
        return ((slice(start, start + step), rounds) for start in range(0, len(self._asked), step))


def _scores(clean: Tensor, noise: Tensor, spread: float) -> Tensor:
    """(−½ d² + s ⟨ε, f⟩) / s² of [B, M] and [draws, B, M]: [draws · B, M]. s² alone may be too small for float32."""
    return (clean / spread + noise).div_(spread).flatten(0, 1)


def _groups(noises: Sequence[Noise], gallery: Tensor) -> list[list[int]]:
    """Positions of white noises that one linear map makes white; each other noise on its own."""
    probe = torch.randn(gallery[:2].shape, generator=Generator().manual_seed(0)).to(gallery.device)
    groups: list[tuple[Tensor | None, list[int]]] = []
    for level, noise in enumerate(noises):
        white = noise.whitened(probe) if isinstance(noise, WhitenedNoise) else None
        same = (
            group for known, group in groups if white is not None and known is not None and torch.equal(known, white)
        )
        if (group := next(same, None)) is not None:
            group.append(level)
        else:
            groups.append((white, [level]))
    return [group for _, group in groups]


def _matrix(features: Tensor) -> Tensor:
    """[N, C, h, w] -> [N, h·w·C], without a copy where channels come last in memory, as features of attacks do."""
    return features.permute(0, 2, 3, 1).reshape(len(features), math.prod(features.shape[1:]))
