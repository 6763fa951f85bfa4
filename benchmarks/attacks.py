"""Seconds for the leakage attack on a frozen obfuscator, against plain PyTorch and against other ways to group it.

    python -m benchmarks.attacks --row 5 --split 2      # and 3, 4
    python -m benchmarks.attacks --row 6 --split 2      # every way to group, one row each

ResNet18 at 32x32, CIFAR-10 as JPEG files (`--cifar-folder`; without it scikit-learn's digits). M1 has random weights
and the batch statistics of one pass over the training images, sigma is 1: what the attack costs does not depend on
what M1 has learnt. Both sides train the same networks (equal initial weights) for the same number of epochs, which are
all validated, keep the best epoch and report it on the validation images with four draws of the noise.

Row 5: a fresh utility network and the adversaries `rest` and `mlp`, one repeat a seed. The peer is what a researcher
writes: for each network an epoch over torchvision-style images in a DataLoader (`--workers`), M1(x) under
no_grad at each step, torch's own layers, contiguous float32, default Adam, loss.item() at each step. Each side has a
process of its own, as narl sets what its process does with freed memory.
Row 6: `--seeds` adversaries of each kind on one obfuscator. The peer is narl, one after another on cached features;
the other side two Python threads with a torch thread each, or one stack of networks under vmap that share batches and
noise (benchmarks/grouped_attackers.py).

Measured on 2 cores of an AMD EPYC (AVX2), 2026-11-23. Row 5: 5.6x at split 2, 11x at 3, 15.6x at 4 (the adversaries
still near chance). Row 6, `--seeds 5 --epochs 2 --repeats 2`, threads and vmap: 1.09x and 0.85x (split 2, rest), 1.12x
and 1.38x (2, mlp), 0.91x and 0.86x (3, rest), 1.10x and 1.13x (3, mlp), 1.63x and 2.26x (4, rest), 1.16x and 1.43x
(4, mlp).
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from benchmarks.attack_task import ARCH, BATCH, opened, prepare
from benchmarks.measure import Comparison, alternate, arguments, pin_threads, report

TARGETS = {2: 2, 3: 3, 4: 5}
# The adversaries of row 5.
NETWORKS = ("rest", "mlp")
# Two-sided 99 % of Student's t with 2 and with 4 degrees of freedom: a mean of three, and the difference of two such.
T_MEAN, T_DIFFERENCE = 9.925, 4.604


def main() -> None:
    parser = arguments(__doc__, repeats=3)
    parser.add_argument("--row", choices=("5", "6"), default="5")
    parser.add_argument("--seeds", type=int, default=5, help="adversaries of a kind in row 6")
    parser.add_argument("--split", action="append", type=int, choices=sorted(TARGETS), help="default: all")
    parser.add_argument("--epochs", type=int, default=3, help="of every network")
    parser.add_argument("--train", type=int, default=640, help="training images")
    parser.add_argument("--validation", type=int, default=256, help="validation images")
    parser.add_argument("--workers", type=int, default=0, help="of the peer's DataLoader")
    parser.add_argument("--cifar-folder", type=Path, default=Path("~/.cache/narl-data").expanduser())
    args = parser.parse_args()
    pin_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        splits = args.split or sorted(TARGETS)
        if args.row == "5":
            rows = [full_attack(args, split, folder) for split in splits]
        else:
            rows = [row for split in splits for row in several_attackers(args, split, folder)]
    report("attacks", rows, args)


def full_attack(args: argparse.Namespace, split: int, folder: str) -> Comparison:
    """Row 5 at one split."""
    path = prepare(args, split, folder)
    check_same_networks(path)
    ours, peer = Side(narl_attack, path), Side(plain_attack, path)
    for side in (ours, peer):
        side.warm_up()
    seconds = alternate(ours, peer, repeats=args.repeats, warm_up=0)
    images = f"{args.train} training and {args.validation} validation images, {args.epochs} epochs"
    check = (
        f"M1(x) and the logits of every fresh network agree before training; accuracy of {same_accuracies(ours, peer)}"
    )
    notes = {"images": images}
    return Comparison("5", f"leakage attack, {ARCH} split {split}", "s", *seconds, TARGETS[split], check, notes)


def several_attackers(args: argparse.Namespace, split: int, folder: str) -> list[Comparison]:
    """Row 6 at one split: every other way against one network after another, for each kind of adversary."""

    path = prepare(args, split, folder)
    rows = []
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for kind in ("rest", "mlp"):
            for way in ("threads", "vmap"):
                measured = {"sequential": [], way: []}

                def measure(name, kind=kind, measured=measured):
                    job = pool.submit(grouped, path, kind, name, args.seeds)
                    seconds, accuracies = job.result()
                    measured[name].append(accuracies)
                    return seconds

                seconds = alternate(
                    lambda w=way, m=measure: m(w), lambda m=measure: m("sequential"), repeats=args.repeats
                )
                means = {name: statistics.mean(map(statistics.mean, each)) for name, each in measured.items()}
                check = ", ".join(f"{name} {mean:.1f} %" for name, mean in means.items()) + " mean validation accuracy"
                assert abs(means["sequential"] - means[way]) < 5, check
                if way == "threads":
                    assert measured[way][0] == measured[way][1], "two threads: not the same twice"
                    check += "; threads: the same accuracies at every repeat"
                what = f"{args.seeds} {kind}, {ARCH} split {split}, {way}"
                rows.append(Comparison("6", what, "s", *seconds, 2, check))
    return rows


def grouped(*task) -> tuple[float, list[float]]:
    """In the process that measures, as this imports torch."""
    from benchmarks.grouped_attackers import measure

    return measure(*task)


class Side:
    """A process that measures one side, seed after seed."""

    def __init__(self, attack: Callable, path: Path) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self._attack, self._path = attack, path
        self.accuracies: list[dict[str, float]] = []

    def warm_up(self) -> None:
        """One epoch of every network."""
        self._pool.submit(self._attack, self._path, 0, 1).result()

    def __call__(self) -> float:
        """Seconds of one attack with the next seed."""
        seconds, accuracies = self._pool.submit(self._attack, self._path, len(self.accuracies)).result()
        self.accuracies.append(accuracies)
        return seconds


def same_accuracies(ours: Side, peer: Side) -> str:
    """Mean and 99 % interval over the seeds of each network's accuracy on both sides, in words.

    Raises:
        AssertionError: a difference of the means is outside its 99 % interval.
    """
    words = []
    for name in ours.accuracies[0]:
        sides = [[accuracies[name] for accuracies in side.accuracies] for side in (ours, peer)]
        means, errors = zip(*((statistics.mean(a), statistics.stdev(a) / len(a) ** 0.5) for a in sides), strict=True)
        spread = T_DIFFERENCE * (errors[0] ** 2 + errors[1] ** 2) ** 0.5
        assert abs(means[0] - means[1]) <= spread, f"{name}: {sides}"
        both = " and ".join(f"{mean:.1f} ± {T_MEAN * error:.1f}" for mean, error in zip(means, errors, strict=True))
        words.append(f"{name} {both} % (difference {means[0] - means[1]:+.1f}, 99 % interval ± {spread:.1f})")
    return "; ".join(words)


def narl_attack(path: Path, seed: int, epochs: int | None = None) -> tuple[float, dict[str, float]]:
    """Seconds, and the accuracy in percent of every network."""
    import torch

    from narl.attacks.leakage import attack
    from narl.attacks.target import Target
    from narl.config.trial import Attack
    from narl.core.point import Point
    from narl.core.steps import drained
    from narl.methods.halves import Halves
    from narl.training.memory import keep_freed_memory
    from narl.training.precision import Precision

    task, dataset, obfuscator = opened(path)
    keep_freed_memory()
    epochs = epochs or task["epochs"]
    settings = Attack(
        adversaries=NETWORKS,
        epoch_steps=1,
        min_epochs=epochs,
        max_epochs=epochs,
        clean_epochs=0,
        views=1,
        batch_size=BATCH,
    )
    precision = Precision(torch.device("cpu"), torch.float32)
    started = time.perf_counter()
    halves = Halves(Point(arch=ARCH, split=task["split"], sigma=1.0, lambda_=0.0), dataset.image_size)
    target = Target(obfuscator, dataset, halves=halves, settings=settings, precision=precision, seed=seed)
    leakage = drained(attack(target), lambda epoch: None)
    seconds = time.perf_counter() - started
    assert all(len(curve) == epochs for curve in leakage.curves.values())
    return seconds, {"utility": leakage.utility} | leakage.adversaries


def fresh_networks(dataset, split: int, seed: int) -> dict[str, tuple]:
    """(label, network) by name, with the initial weights that `narl.attacks.leakage.attack` gives them."""
    from narl.attacks.adversaries import build_adversary
    from narl.core.point import Point
    from narl.core.seeds import derive_seed
    from narl.methods.halves import Halves

    halves = Halves(Point(arch=ARCH, split=split, sigma=1.0, lambda_=0.0), dataset.image_size)
    networks = {"utility": (0, halves.rest(num_outputs=1, seed=derive_seed(seed, "utility")))}
    for name in NETWORKS:
        network = build_adversary(name, halves, num_outputs=10, seed=derive_seed(seed, name))
        networks[name] = (1, network)
    return networks


def check_same_networks(path: Path) -> None:
    """Raises AssertionError unless M1 and the fresh networks say the same on both sides before training."""
    import torch

    from benchmarks.plain_loop import plain_layers
    from narl.training.classification import to_unit_range

    task, dataset, obfuscator = opened(path)
    batch = next(iter(dataset.loader("validation", batch_size=64).epoch(0)))
    images = to_unit_range(batch.images, torch.device("cpu"))
    z = obfuscator.features(images)
    assert z.std() > 0.1
    torch.testing.assert_close(
        plain_layers(copy.deepcopy(obfuscator.body))(images.contiguous()), z, rtol=1e-3, atol=1e-3
    )
    for _, network in fresh_networks(dataset, task["split"], 0).values():
        torch.testing.assert_close(
            plain_layers(copy.deepcopy(network))(z.contiguous()), network(z), rtol=1e-3, atol=1e-3
        )


class Images:
    """Arrays in memory, made into tensors one by one as torchvision's CIFAR10 does; labels (utility, private)."""

    def __init__(self, images, utility: list[int], private: list[int]) -> None:
        self.images = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = list(zip(utility, private, strict=True))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple:
        from PIL import Image
        from torchvision.transforms.functional import to_tensor

        return to_tensor(Image.fromarray(self.images[i])), self.labels[i]


@cache
def plain_loaders(path: Path) -> dict:
    """DataLoaders by split."""
    import torch
    from torch.utils.data import DataLoader

    task, dataset, _ = opened(path)
    loaders = {}
    for split in ("train", "validation"):
        images = torch.cat([batch.images for batch in dataset.loader(split, batch_size=256).epoch(0)])
        labels = [labels.tolist() for labels in dataset.labels(split)]
        loaders[split] = DataLoader(
            Images(images, *labels),
            batch_size=BATCH,
            shuffle=split == "train",
            num_workers=task["workers"],
            persistent_workers=task["workers"] > 0,
            multiprocessing_context="fork" if task["workers"] else None,
        )
    return loaders


def plain_attack(path: Path, seed: int, epochs: int | None = None) -> tuple[float, dict[str, float]]:
    """As `narl_attack`, in plain PyTorch."""
    import torch
    from torch.nn import functional as F

    from benchmarks.plain_loop import plain_layers

    task, dataset, obfuscator = opened(path)
    m1, sigma = plain_layers(obfuscator.body), obfuscator.noise.sigma
    loaders = plain_loaders(path)
    started = time.perf_counter()
    torch.manual_seed(seed)

    def accuracy(network, which: int, draws: int) -> float:
        network.eval()
        correct = 0
        with torch.no_grad():
            for images, labels in loaders["validation"]:
                z = m1(images)
                for _ in range(draws):
                    logits = network(z + sigma * torch.randn_like(z))
                    guess = logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0] > 0).long()
                    correct += (guess == labels[which]).sum().item()
        return 100 * correct / (len(loaders["validation"].dataset) * draws)

    accuracies = {}
    for name, (which, network) in fresh_networks(dataset, task["split"], seed).items():
        plain_layers(network)
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
        best, best_state = -1.0, None
        for _ in range(epochs or task["epochs"]):
            network.train()
            total = 0.0
            for images, labels in loaders["train"]:
                with torch.no_grad():
                    z = m1(images)
                    z = z + sigma * torch.randn_like(z)
                logits, target = network(z), labels[which]
                if logits.shape[1] == 1:
                    loss = F.binary_cross_entropy_with_logits(logits[:, 0], target.float())
                else:
                    loss = F.cross_entropy(logits, target)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                total += loss.item()
            validated = accuracy(network, which, 1)
            if validated > best:
                best, best_state = validated, copy.deepcopy(network.state_dict())
        network.load_state_dict(best_state)
        accuracies[name] = accuracy(network, which, 4)
    return time.perf_counter() - started, accuracies


if __name__ == "__main__":
    main()
