"""Train one configuration, keep it as files, load them again and query the server through the client.

python examples/bundle.py FOLDER        # some seconds; FOLDER is made
"""

import sys
from pathlib import Path

import torch

import narl
from narl.config.trial import TrainConfig
from narl.data.dataset import open_dataset

DIGITS = Path(__file__).parents[1] / "pipelines" / "digits.yaml"


def main(folder: str) -> None:
    config = TrainConfig(
        pipeline=narl.Pipeline.load(DIGITS),
        trial={"arch": "mobilenet_v3_small", "split": 3, "sigma": 2.0, "lambda": 0.01, "seed": 0},
        training={"epochs": 3, "batch_size": 64},
        attack={"max_epochs": 4, "min_epochs": 2, "patience": 2, "batch_size": 64, "adversaries": ["bayes", "mlp"]},
    )
    result = narl.train(config, out=folder)
    m = result.metrics
    print(f"on test images: utility {m.utility:.1f} %, leakage {m.leakage:.1f} %, never above {m.leakage_bound:.1f} %")

    bundle = narl.load_bundle(folder)
    batch = next(iter(open_dataset(config.pipeline, splits=("test",)).loader("test", batch_size=8).epoch(0)))
    images = batch.images.float() / 255
    generator = torch.Generator().manual_seed(0)
    print(f"what the client sends: {tuple(bundle.client(images, generator).shape)}")
    for probabilities in bundle.query(images, generator=generator):
        sure, answer = probabilities.max(0)
        print(f"{bundle.config.utility_classes[int(answer)]}, {100 * sure:.0f} % sure")


if __name__ == "__main__":
    main(*sys.argv[1:])
