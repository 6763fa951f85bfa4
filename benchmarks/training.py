"""Images per second of NARL training, loader included, against the plain loop that a researcher writes.

    python -m benchmarks.training                                 # rows 3 and 4
    python -m benchmarks.training --case resnet18:3:178:32        # one architecture:split:size:batch
    python -m benchmarks.training --zoo                           # every architecture, briefly: none may be slower

narl's side is `open_dataset`, `Narl` and `choose_precision` as a trial uses them; the peer is benchmarks/plain_loop.py.
Each side runs in a process of its own on the same cores. Images are CIFAR-10 JPEGs (`--cifar-folder`, else noise),
enlarged beforehand where an architecture needs more than 32 pixels, flipped at random.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Comparison, alternate, arguments, pin_threads, report
from benchmarks.own_process import OwnProcess

USEFUL = {"bird", "cat", "deer", "dog", "frog", "horse"}
SIGMA, LAMBDA = 1.0, 0.01


@dataclass(frozen=True)
class Case:
    """What is trained: `steps` batches of `batch` images of `size` pixels a repeat."""

    row: str
    arch: str
    split: int
    size: int
    batch: int
    steps: int
    target: float | None

    @property
    def what(self) -> str:
        return f"{self.arch}/{self.split} at {self.size}, batch {self.batch}"


CASES = [
    Case("3a", "resnet18", 3, 32, 128, 8, 2.5),
    Case("3b", "resnet18", 3, 178, 32, 2, 2.2),
    Case("4a", "mobilenet_v2", 16, 32, 128, 12, 2),
    Case("4b", "alexnet", 4, 63, 128, 3, 2),
    Case("4c", "vgg11_bn", 5, 32, 128, 2, 2),
]
ZOO = [
    Case("4", "resnet34", 3, 32, 128, 2, 1),
    Case("4", "resnet50", 3, 32, 128, 2, 1),
    Case("4", "resnet18_cifar", 3, 32, 32, 2, 1),
    Case("4", "mobilenet_v3_small", 8, 32, 128, 6, 1),
    Case("4", "efficientnet_b0", 5, 32, 128, 4, 1),
    Case("4", "shufflenet_v2_x1_0", 3, 32, 128, 6, 1),
]


def main() -> None:
    parser = arguments(__doc__, repeats=3)
    parser.add_argument("--case", action="append", type=_case, help="ARCH:SPLIT:SIZE:BATCH instead of rows 3 and 4")
    parser.add_argument("--zoo", action="store_true", help="the other architectures instead of rows 3 and 4")
    parser.add_argument("--autocast", action="store_true", help="the peer uses bfloat16 autocast")
    parser.add_argument("--cifar-folder", type=Path, default=Path("~/.cache/narl-data").expanduser())
    args = parser.parse_args()
    pin_threads(args.threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in args.case or (ZOO if args.zoo else CASES):
            images = write_images(args.cifar_folder, Path(folder), case.size)
            rows.append(compare(case, images, args))
    report("training", rows, args)


def compare(case: Case, images: Path, args: argparse.Namespace) -> Comparison:
    check = same_gradients(case)
    with (
        OwnProcess(args.threads, narl_side, case, images) as ours,
        OwnProcess(args.threads, plain_side, case, images, args.threads, args.autocast) as peer,
    ):
        # A side's own warm-up is in its builder: the first steps load, compile and allocate.
        rates = alternate(ours, peer, repeats=args.repeats, warm_up=0)
    flops = plain_flops(case)
    product = matrix_product_gflops()
    notes = {
        "GFLOP of the plain loop's matrix products an image": round(flops / 1e9, 3),
        "GFLOP/s of a 3000 x 3000 matrix product here": round(product),
        "the plain loop's share of that": f"{sorted(rates[1])[len(rates[1]) // 2] * flops / 1e9 / product:.0%}",
    }
    return Comparison(case.row, case.what, "images/s", *rates, case.target, check, notes)


def narl_side(case: Case, images: Path) -> Callable[[], float]:
    from narl.config.pipeline import Pipeline
    from narl.data.dataset import open_dataset
    from narl.training.classification import to_unit_range
    from narl.training.memory import keep_freed_memory
    from narl.training.precision import default_device

    device = default_device()
    if device.type == "cpu":
        keep_freed_memory()
    classes = sorted(path.name for path in (images / "train").iterdir())
    useful = {"no": [c for c in classes if c not in USEFUL], "yes": [c for c in classes if c in USEFUL]}
    pipeline = Pipeline.model_validate(
        {
            "name": "training",
            "source": {"kind": "image_folder", "root": str(images), "train": "train", "test": "test"},
            "utility": {"name": "living", "map": useful},
            "private": {"name": "class"},
            "splits": {"validation": 0.05},
            "image": {"size": case.size},
            "augment": {"flip": True},
        }
    )
    dataset = open_dataset(pipeline, cache_dir=images / "cache")
    method = _method(case, sigma=SIGMA, precision="auto", device=device)
    loader = dataset.loader("train", batch_size=case.batch, shuffle=True, augment=True)

    def endless():
        epoch = 0
        while True:
            yield from (batch for batch in loader.epoch(epoch) if len(batch.index) == case.batch)
            epoch += 1

    batches = endless()

    def step() -> None:
        batch = next(batches)
        method.step(
            to_unit_range(batch.images, device),
            batch.utility.to(device, non_blocking=True),
            batch.private.to(device, non_blocking=True),
        )

    return _measured(step, case, device)


def plain_side(case: Case, images: Path, workers: int, autocast: bool) -> Callable[[], float]:
    import torch

    from benchmarks.plain_loop import PlainLoop, data_loader

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    networks = (network.train().to(device) for network in _networks(case, noise=False))
    loop = PlainLoop(*networks, sigma=SIGMA, lambda_=LAMBDA, autocast=autocast)
    batches = data_loader(images / "train", case.batch, workers, USEFUL)

    def step() -> None:
        loop.step(*(tensor.to(device) for tensor in next(batches)))

    return _measured(step, case, device)


def _measured(step: Callable[[], None], case: Case, device) -> Callable[[], float]:
    import torch

    def images_a_second() -> float:
        started = time.perf_counter()
        for _ in range(case.steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return case.steps * case.batch / (time.perf_counter() - started)

    for _ in range(2):
        step()
    return images_a_second


def _networks(case: Case, noise: bool = True):
    """M1 (with its noise, or the body alone), M2 and A."""
    from narl.models.split import build_obfuscator, build_rest

    m1 = build_obfuscator(arch=case.arch, split=case.split, sigma=SIGMA, seed=0)
    heads = (build_rest(arch=case.arch, split=case.split, num_outputs=k, seed=k) for k in (1, 10))
    return (m1 if noise else m1.body, *heads)


def _method(case: Case, *, sigma: float, precision: str, device):
    """narl's side: the three networks and their Adams, in training mode."""
    from narl.core.point import Point
    from narl.methods.base import Ingredients
    from narl.methods.catalogue import halves_of
    from narl.methods.narl import Narl

    point = Point(arch=case.arch, split=case.split, sigma=sigma, lambda_=LAMBDA)
    method = Narl(Ingredients(point, halves_of(point, case.size), 1, 10, 1e-3, precision, device))
    method.begin_epoch(0, 1)
    return method


def same_gradients(case: Case, batch: int = 4) -> str:
    """Gradients of the three networks on one batch in float64, without noise and dropout.

    Raises:
        AssertionError: they differ by more than rounding.
    """
    import torch
    from torchvision.ops import StochasticDepth

    from benchmarks.plain_loop import PlainLoop

    method = _method(case, sigma=0.0, precision="float32", device=torch.device("cpu"))  # no autocast: float64 stays
    for network in method.networks:
        network.double()
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout | StochasticDepth):
                module.p = 0.0
    ours = method.networks
    peer = copy.deepcopy((ours[0].body, *ours[1:]))
    random = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, case.size, case.size, generator=random, dtype=torch.double)
    utility, private = (torch.randint(0, k, (batch,), generator=random) for k in (2, 10))
    method.accumulate_gradients(images.contiguous(memory_format=torch.channels_last), utility, private)
    loop = PlainLoop(*peer, sigma=0.0, lambda_=LAMBDA)
    loop.backward(images, utility, private)
    worst = 0.0
    for mine, theirs in zip((ours[0].body, *ours[1:]), (loop.m1, loop.m2, loop.adversary), strict=True):
        pairs = list(zip(mine.parameters(), theirs.parameters(), strict=True))
        difference = sum((a.grad - b.grad).square().sum() for a, b in pairs).sqrt()
        size = sum(b.grad.square().sum() for _, b in pairs).sqrt()
        worst = max(worst, (difference / size).item())
    assert worst < 1e-5, f"{case.what}: gradients differ by {worst:.1e}"
    return f"gradients of the three networks on one batch, float64, no noise: relative difference {worst:.1e}"


def plain_flops(case: Case) -> float:
    """Operations of the matrix products and convolutions of one plain step, an image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.plain_loop import PlainLoop

    loop = PlainLoop(*_networks(case, noise=False), sigma=SIGMA, lambda_=LAMBDA)
    images = torch.rand(4, 3, case.size, case.size)
    with FlopCounterMode(display=False) as counter:
        loop.backward(images, torch.zeros(4).long(), torch.zeros(4).long())
    return counter.get_total_flops() / 4


def matrix_product_gflops(side: int = 3000) -> float:
    """float32, the best of five."""
    import torch

    a, b = torch.rand(2, side, side)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds) / 1e9


def write_images(cifar: Path, folder: Path, size: int, count: int = 1300) -> Path:
    """`count` JPEG files of `size` pixels in `<folder>/<size>/{train,test}/<class>/`."""
    from PIL import Image

    from benchmarks.loading import write_noise

    target = folder / str(size)
    if target.exists():
        return target
    if not (cifar / "train").is_dir():
        write_noise(target, side=size, count=count)
        return target
    for part, number in (("train", count), ("test", 100)):
        for class_folder in sorted((cifar / part).iterdir()):
            (target / part / class_folder.name).mkdir(parents=True)
            for path in sorted(class_folder.glob("*.jpg"))[: number // 10]:
                image = Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
                image.save(target / part / class_folder.name / path.name, quality=90)
    return target


def _case(text: str) -> Case:
    try:
        arch, split, size, batch = text.split(":")
        return Case("-", arch, int(split), int(size), int(batch), 4, None)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not ARCH:SPLIT:SIZE:BATCH") from None


if __name__ == "__main__":
    main()
