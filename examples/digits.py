"""The test digits of a pipeline as one file, for a client that has neither torch nor narl.

python examples/digits.py digits.npz        # images uint8 [N, S, S, 3], labels [N] of the useful label
"""

import sys
from pathlib import Path

import numpy as np

import narl
from narl.data.dataset import open_dataset

DIGITS = Path(__file__).parents[1] / "pipelines" / "digits.yaml"


def main(path: str) -> None:
    dataset = open_dataset(narl.Pipeline.load(DIGITS), splits=("test",))
    batches = list(dataset.loader("test", batch_size=64).epoch(0))
    images = np.concatenate([batch.images.permute(0, 2, 3, 1).numpy() for batch in batches])
    labels = np.concatenate([batch.utility.numpy() for batch in batches])
    np.savez(path, images=images, labels=labels)
    print(f"{len(images)} images of {dataset.image_size} pixels are in {path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
