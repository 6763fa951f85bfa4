"""Settings to begin with, by the number of images: splits, epochs, batches, time."""

from __future__ import annotations

from narl.config.pipeline import Splits
from narl.config.trial import Attack, Training
from narl.core.errors import DataError
from narl.evaluation.intervals import known_to

FEWEST_IMAGES = 100
# Of sides in pixels: the largest that the images fill is proposed. Larger ones are asked for: cost grows as the square.
SIZES = (32, 48, 64)
# Small networks, and split points from cheap to dear; the embedded search tries the same (search_spaces/digits.yaml).
CLIENTS = {"mobilenet_v3_small": (3, 5, 6, 8, 12), "shufflenet_v2_x1_0": (3,), "mobilenet_v2": (16,)}
# Optimiser steps of a trial's training: after so many a small network is useful, if not at its best.
STEPS = 200
# A batch is a power of two, so small that an epoch has so many steps, within bounds.
STEPS_AN_EPOCH, SMALLEST_BATCH, LARGEST_BATCH = 16, 16, 128
MOST_EPOCHS = 100
TRIALS = 24


def check_number(images: int) -> None:
    """Raise DataError if there are too few images to measure anything on."""
    if images < FEWEST_IMAGES:
        tested = max(1, images // 4)
        raise DataError(
            f"{images} image(s): a quarter of them would be tested on, and of {tested} an accuracy is known to ± "
            f"{known_to(tested):.0f} points (95 %): narl init takes {FEWEST_IMAGES} images or more"
        )


def splits_for(images: int) -> Splits:
    """Give small sets a larger share to validate and test on, where each percentage rests on few images."""
    share = 0.25 if images < 2_000 else 0.2 if images < 20_000 else 0.1
    return Splits(validation=share, test=share)


def training_for(train: int) -> Training:
    """Train for about `STEPS` steps on so many images."""
    batch = SMALLEST_BATCH
    while batch < LARGEST_BATCH and train >= 2 * batch * STEPS_AN_EPOCH:
        batch *= 2
    return Training(epochs=min(MOST_EPOCHS, max(2, round(STEPS / steps_an_epoch(train, batch)))), batch_size=batch)


def steps_an_epoch(train: int, batch: int) -> int:
    return -(-train // batch)


def attack_for(train: int) -> Attack:
    """Attack briefly, as the embedded search does: `narl train` and `narl evaluate` attack what was chosen at length."""
    batch = max(32, training_for(train).batch_size)
    return Attack(clean_epochs=3, max_epochs=14, min_epochs=5, patience=3, batch_size=batch)


def minutes_for(images: int) -> float:
    """Guess how long a search takes that says something, on a few CPU cores."""
    return 5 if images < 2_000 else 30 if images < 20_000 else 120


def size_for(shorter_side: float) -> int:
    """Choose the side of the square images, in pixels, from the median shorter side of the pictures."""
    return max((size for size in SIZES if size <= shorter_side), default=SIZES[0])
