"""Distances between answers and images without any answer: what one set of inner products says of every noise level.

An answer about image a is z = f_a + s ε, ε ~ N(0, I). Up to a constant of its own its log-likelihood under image j is

    (−½ ‖f_a − f_j‖² + s ⟨ε, f_j⟩) / s²,     ⟨ε, f_1⟩ … ⟨ε, f_M⟩ ~ N(0, F Fᵀ)

so the D values of z matter once, for the Gram matrix F Fᵀ, and noise can be drawn in min(D, M) dimensions. Features are
taken about their mean; where noise is so small beside them that float32 would blur likelihoods, distances are computed
in
float64, and become float32 only as differences to the nearest image: images that hardly differ stay apart. Everything
    is
divided by the images' root mean square distance from their mean, so that scale decides nothing.

Letters: M images of the gallery, N images that answers are about, D values of an image's features, B answers.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from narl.core.errors import DivergedTraining

# A float64 Gram matrix of so many images is 0.8 GB; with more images, noise is drawn in D dimensions.
REDUCED_AT_MOST = 10_000
# (unit / spread)² from which float64 is used: below, float32's rounding moves no log-likelihood by a hundredth.
DOUBLE_FROM = 1e4
# Values of a slice of columns or rows, float64: 32 MiB.
_SLICE_VALUES = 1 << 22
# Shares of the Gram matrix's mean diagonal, as rounding may leave it without a Cholesky factor; the first that works.
_JITTERS = (1e-12, 1e-10, 1e-8, 1e-6)
NOT_FINITE = "the client's features are not finite"


class Geometry:
    """Inner products of a gallery with the images that are asked about, on their device.

    Args:
        gallery: float [M, D]; no copy is kept where D > M.
        asked: float [N, D]; may be `gallery` itself.
        least_spread: of the noise that likelihoods will be asked of, in the units of features; 0 for the best
            precision.

    Attributes:
        unit: root mean square of ‖f_j − mean‖, 1 if all are equal; distances are returned in it.

    Raises:
        DivergedTraining: features that are not finite.
    """

    def __init__(self, gallery: Tensor, asked: Tensor, least_spread: float = 0.0) -> None:
        self._asked = asked
        # About the first image first: a value that is the same everywhere becomes 0, whatever rounding makes of a mean.
        self._first = gallery[0].double()
        self._mean = torch.zeros_like(self._first)
        lengths = torch.empty(len(gallery), dtype=torch.float64, device=gallery.device)
        total = torch.zeros_like(self._mean)
        for part, _ in self._by_rows(gallery):
            total += part.sum(0)
        self._mean = total / len(gallery)
        for part, rows in self._by_rows(gallery):
            lengths[rows] = part.square_().sum(1)
        self.unit = lengths.mean().sqrt().item() or 1.0
        if not 0 < self.unit < float("inf"):
            raise DivergedTraining(NOT_FINITE)
        self._half = lengths / (2 * self.unit**2)
        reduced = len(gallery) < gallery.shape[1] and max(len(gallery), len(asked)) <= REDUCED_AT_MOST
        self._clean: Tensor | None = None
        if reduced:
            self._reduce(gallery)
        else:
            double = self.unit**2 > DOUBLE_FROM * least_spread**2
            dtype = torch.float64 if double else torch.float32
            self._known = torch.empty(gallery.shape, dtype=dtype, device=gallery.device)
            for part, rows in self._by_rows(gallery):
                self._known[rows] = part.div_(self.unit)
            self._root = self._known.float()

    def clean(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Compute, for the images `rows`, −½ d² to each of the gallery, relative to the nearest; and d² of the nearest.

        Returns:
            float32 [B, M], 0 for the nearest and below it elsewhere; float64 [B].
        """
        if self._clean is not None:
            return self._clean[rows], self._nearest[rows]
        asked = self._centred(self._asked[rows]).div_(self.unit)
        products = asked.to(self._known.dtype) @ self._known.T
        return _about_nearest(products.sub_(self._half.to(products.dtype)), asked.square().sum(1) / 2)

    def noise(self, count: int, generator: Generator) -> Tensor:
        """Draw `count` times ⟨ε, f_j⟩, float32 [count, M]."""
        draws = torch.empty(count, self._root.shape[1], device=self._root.device).normal_(generator=generator)
        return draws @ self._root.T

    def _centred(self, features: Tensor, columns: slice = slice(None), out: Tensor | None = None) -> Tensor:
        """Centre in float64, in `out` if given: parts allocated one by one would leave holes in memory."""
        features = features[:, columns]
        out = torch.empty(features.shape, dtype=torch.float64, device=features.device) if out is None else out
        return out.copy_(features).sub_(self._first[columns]).sub_(self._mean[columns])

    def _by_rows(self, features: Tensor) -> Iterator[tuple[Tensor, slice]]:
        """Yield parts of `_centred` and their rows; each part overwrites the one before."""
        step = max(1, min(len(features), _SLICE_VALUES // features.shape[1]))
        room = torch.empty(step, features.shape[1], dtype=torch.float64, device=features.device)
        for rows in _slices(len(features), step):
            part = features[rows]
            yield self._centred(part, out=room[: len(part)]), rows

    def _reduce(self, gallery: Tensor) -> None:
        """The Gram matrix's root and all distances, column by column: no more of D is held than a slice."""
        count, device, same = len(gallery), gallery.device, self._asked is gallery
        gram = torch.zeros(count, count, dtype=torch.float64, device=device)
        cross = gram if same else torch.zeros(len(self._asked), count, dtype=torch.float64, device=device)
        half = torch.zeros(len(self._asked), dtype=torch.float64, device=device)
        step = max(1, _SLICE_VALUES // max(count, len(self._asked)))
        rooms = [torch.empty(len(each), step, dtype=torch.float64, device=device) for each in (gallery, self._asked)]
        for columns in _slices(gallery.shape[1], step):
            width = min(columns.stop, gallery.shape[1]) - columns.start
            known = self._centred(gallery, columns, rooms[0][:, :width]).div_(self.unit)
            gram.addmm_(known, known.T)
            if not same:
                asked = self._centred(self._asked, columns, rooms[1][:, :width]).div_(self.unit)
                cross.addmm_(asked, known.T)
                half += asked.square_().sum(1) / 2
        half = gram.diagonal() / 2 if same else half
        self._clean, self._nearest = _about_nearest(cross - self._half, half)
        self._root = _root(gram)


def _about_nearest(products: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """⟨a, f_j⟩ − ½ ‖f_j‖² [B, M] and ½ ‖a‖² [B] -> what `Geometry.clean` returns."""
    if not half.isfinite().all():
        raise DivergedTraining(NOT_FINITE)
    best = products.amax(1, keepdim=True)
    return products.sub_(best).float(), (2 * (half - best[:, 0].double())).clamp_min(0)


def _root(gram: Tensor) -> Tensor:
    """Factor `gram` = L Lᵀ, L float32; jitter parts equal images by at most a hundred-thousandth of their length."""
    mean = gram.diagonal().mean().clamp_min(1e-300)
    for jitter in _JITTERS:
        gram.diagonal().add_(jitter * mean)
        root, failed = torch.linalg.cholesky_ex(gram)
        if not failed:
            factor: Tensor = root.float()
            return factor
    raise DivergedTraining("the client's features have no Gram matrix: they are not finite or nearly so")


def _slices(size: int, step: int) -> Iterator[slice]:
    return (slice(start, start + step) for start in range(0, size, step))
