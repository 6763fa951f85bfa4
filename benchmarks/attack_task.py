"""What benchmarks/attacks.py attacks: images and a random obfuscator, in a file that each measured process opens."""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path

ARCH = "resnet18"
BATCH = 128


def prepare(args: argparse.Namespace, split: int, folder: str) -> Path:
    """Everything that a side needs to know, in a file."""
    import torch

    from narl.models.split import build_obfuscator
    from narl.training.classification import to_unit_range

    source, size = {"kind": "digits"}, {}
    labels = {"even": list("02468"), "odd": list("13579")}
    if (args.cifar_folder / "train").is_dir():
        source = {"kind": "image_folder", "root": str(args.cifar_folder), "train": "train", "test": "test"}
        labels = {
            "not_living": ["airplane", "automobile", "ship", "truck"],
            "living": ["bird", "cat", "deer", "dog", "frog", "horse"],
        }
        size = {"train_limit": args.train, "validation_limit": args.validation, "test_limit": 100}
    pipeline = {
        "name": "attacks",
        "source": source,
        "utility": {"name": "utility", "map": labels},
        "private": {"name": "class"},
        "splits": {"validation": 0.1} | size,
        "image": {"size": 32},
    }
    path = Path(folder) / f"split{split}.pt"
    task = {"pipeline": pipeline, "split": split, "epochs": args.epochs, "workers": args.workers, "folder": folder}
    obfuscator = build_obfuscator(arch=ARCH, split=split, sigma=1.0, seed=1)
    with torch.no_grad():
        for batch in open_images(pipeline, folder).loader("train", batch_size=BATCH).epoch(0):
            obfuscator.train().features(to_unit_range(batch.images, torch.device("cpu")))
    torch.save(task | {"obfuscator": obfuscator.state_dict()}, path)
    return path


def open_images(pipeline: dict, folder: str):
    from narl.config.pipeline import Pipeline
    from narl.data.dataset import open_dataset

    return open_dataset(Pipeline.model_validate(pipeline), cache_dir=folder)


@cache
def opened(path: Path) -> tuple:
    """(task, dataset, obfuscator) in the process that measures."""
    import torch

    from narl.models.split import build_obfuscator

    task = torch.load(path)
    obfuscator = build_obfuscator(arch=ARCH, split=task["split"], sigma=1.0, seed=1)
    obfuscator.load_state_dict(task["obfuscator"])
    return task, open_images(task["pipeline"], task["folder"]), obfuscator.eval().requires_grad_(False)
