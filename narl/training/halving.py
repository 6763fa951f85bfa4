"""Passes without gradients, over as many images at once as GPU memory holds.

In eval mode images do not affect each other: the outputs are those of the whole batch, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from narl.training.gpu_memory import is_out_of_memory, release


class Halving:
    """Calls a function of images on halves, quarters, … of a batch once a whole batch has not fit.

    Attributes:
        at_once: images; None as long as everything fits.
    """

    def __init__(self) -> None:
        self.at_once: int | None = None

    def __call__(self, function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """`function(images)`, [B, …] -> [B, …].

        Raises:
            torch.OutOfMemoryError: not even one image fits.
        """
        while True:
            try:
                outputs = [function(part) for part in images.split(self.at_once or len(images))]
                return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
            except RuntimeError as error:
                at_once = min(self.at_once or len(images), len(images))
                if not is_out_of_memory(error) or at_once == 1:
                    raise
            release()
            self.at_once = (at_once + 1) // 2
