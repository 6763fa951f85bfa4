"""Images per second out of the training loader, against torchvision's ImageFolder in a DataLoader.

    python -m benchmarks.loading --row 1 --row 2

Both sides read the same files in shuffled epochs with the same augmentation, and every batch is consumed. narl's side
is what training uses: `open_dataset(...).loader("train", shuffle=True, augment=True).epoch(n)` with FFCV files. The
peer decodes with Pillow in persistent workers, one a core. Both are warm: the FFCV files are written, all files are in
the page cache, the first epoch is over.

Row 1: 178 x 178 pixels, stored as JPEG, random flip. The images are smooth noise (amplitude 1/frequency^1.7) at JPEG
quality 90, with which a file has 9 kB, about what a photograph of that size has.
Row 2: CIFAR-10 as JPEG files of 32 x 32 pixels (`--cifar-folder`, else such noise), stored as pixels, random crop after
padding by 4 and random flip.

Measured on 2026-11-23, two cores of an AMD EPYC (family 25 model 1), no GPU, batches of 256, medians of 9 and 5 pairs:
row 1: 10,430 against 2,374 images/s, 4.28 times (3.15 to 4.76);
row 2: 814,550 against 3,821 images/s, 215 times (160 to 248), 18 % of the bandwidth of copying memory.
The machine is shared: absolute numbers vary by half, ratios by less.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Comparison, alternate, arguments, pin_threads, report

# CIFAR-10's, so that noise in their place has the same labels.
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PAD = 4


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--row", action="append", choices=("1", "2"), help="which rows (default: both)")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--cifar-folder", type=Path, default=Path("~/.cache/narl-data").expanduser())
    parser.add_argument("--photos", type=int, default=2000, help="images of row 1")
    parser.add_argument("--small-images", type=int, default=20_000, help="images of row 2, at most 45,000 of CIFAR-10")
    args = parser.parse_args()
    pin_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = [{"1": photos, "2": small_images}[row](args, Path(folder)) for row in args.row or ("1", "2")]
    report("loading", rows, args)


def photos(args: argparse.Namespace, folder: Path) -> Comparison:
    from torchvision.transforms import Compose, PILToTensor, RandomHorizontalFlip

    write_noise(folder / "photos", side=178, count=args.photos)
    size = statistics.mean(path.stat().st_size for path in (folder / "photos" / "train").rglob("*.jpg"))
    sides = Sides(args, folder, folder / "photos", {"image": {"size": 178}, "augment": {"flip": True}}, args.photos)
    check = sides.check()
    ours, peer = sides.measure(Compose([RandomHorizontalFlip(), PILToTensor()]))
    notes = {"mean size of a JPEG file": f"{size:.0f} bytes"} | sides.notes
    return Comparison("1", "JPEG 178x178, decode + flip", "images/s", ours, peer, 4, check, notes)


def small_images(args: argparse.Namespace, folder: Path) -> Comparison:
    from torchvision.transforms import Compose, PILToTensor, RandomCrop, RandomHorizontalFlip

    root, source = args.cifar_folder, "CIFAR-10"
    if not (root / "train").is_dir():
        root, source = folder / "small", "noise of CIFAR-10's shape"
        write_noise(root, side=32, count=args.small_images)
    settings = {"image": {"size": 32}, "augment": {"flip": True, "pad_crop": PAD}}
    sides = Sides(args, folder, root, settings, args.small_images)
    check = sides.check()
    ours, peer = sides.measure(Compose([RandomCrop(32, padding=PAD), RandomHorizontalFlip(), PILToTensor()]))
    moved = 2 * 32 * 32 * 3  # bytes an image: read once, written once
    bandwidth = copy_bandwidth()
    rates = {"crop + flip": statistics.median(ours)}
    rates |= {"flip only": sides.rate(augment={"flip": True}), "no augmentation": sides.rate(augment={})}
    notes = {"images": f"{source}, {len(sides.files)}", "bandwidth of torch's copy_": f"{bandwidth / 1e9:.1f} GB/s"}
    for name, rate in rates.items():
        share = rate * moved / bandwidth
        notes[name] = f"{rate:,.0f} images/s, {share:.0%} of that bandwidth at {moved} bytes an image"
    return Comparison("2", "CIFAR-10 32x32, crop + flip", "images/s", ours, peer, 100, check, notes | sides.notes)


class Sides:
    """The two loaders over the training images below `root`, which has the folders `train` and `test`."""

    def __init__(self, args: argparse.Namespace, folder: Path, root: Path, settings: dict, count: int) -> None:
        from narl.config.pipeline import Pipeline
        from narl.data.dataset import open_dataset
        from narl.data.ffcv_support import require_ffcv
        from narl.data.labelled import label

        require_ffcv()
        self.args = args
        self.cache = folder / "cache"
        content = {
            "name": f"loading_{settings['image']['size']}",
            "source": {"kind": "image_folder", "root": str(root), "train": "train", "test": "test"},
            "utility": {"name": "class"},
            "private": {"name": "class"},
            "splits": {"validation": 0.1, "train_limit": count, "validation_limit": 100, "test_limit": 100},
        }
        self.pipeline = Pipeline.model_validate(content | settings)
        started = time.perf_counter()
        self.dataset = open_dataset(self.pipeline, loader="ffcv", cache_dir=self.cache)
        built = time.perf_counter()
        epoch = self._ours(self.dataset).epoch(0)
        next(epoch)
        first = time.perf_counter()
        epoch.close()
        labelled = label(self.pipeline)
        self.files = [str(labelled.source.file(i)) for i in labelled.indices["train"]]
        self.folder = root / "train"
        self.epoch = 0
        self.notes = {
            "batch size": args.batch_size,
            "cold": f"FFCV files written in {built - started:.1f} s ({len(self.files) + 200} images), "
            f"first batch after {first - built:.2f} s",
        }

    def _ours(self, dataset, *, augment: bool = True):
        return dataset.loader("train", batch_size=self.args.batch_size, shuffle=True, augment=augment, seed=1)

    @contextmanager
    def _peer(self, transform, *, shuffle: bool = True) -> Iterator:
        from torch.utils.data import DataLoader, Subset
        from torchvision.datasets import ImageFolder

        images = ImageFolder(str(self.folder), transform)
        position = {path: i for i, (path, _) in enumerate(images.samples)}
        loader = DataLoader(
            Subset(images, [position[path] for path in self.files]),
            batch_size=self.args.batch_size,
            shuffle=shuffle,
            num_workers=self.args.threads,
            persistent_workers=True,
        )
        yield loader
        loader._iterator = None  # ends its workers

    def rate(self, dataset=None, *, augment: dict | None = None) -> float:
        """narl's images per second over whole epochs of at least a second in all."""
        from narl.data.dataset import open_dataset

        if augment is not None:
            pipeline = self.pipeline.model_copy(update={"augment": type(self.pipeline.augment)(**augment)})
            dataset = open_dataset(pipeline, loader="ffcv", cache_dir=self.cache)
        loader = self._ours(dataset or self.dataset)
        images, started = 0, time.perf_counter()
        while (seconds := time.perf_counter() - started) < 1:
            self.epoch += 1
            images += sum(len(batch.images) for batch in loader.epoch(self.epoch))
        assert images % len(self.files) == 0
        return images / seconds

    def measure(self, transform) -> tuple[list[float], list[float]]:
        with self._peer(transform) as loader:

            def peer() -> float:
                started = time.perf_counter()
                images = sum(len(images) for images, _ in loader)
                assert images == len(self.files)
                return images / (time.perf_counter() - started)

            return alternate(self.rate, peer, repeats=self.args.repeats)

    def check(self) -> str:
        """Same images and labels on both sides; what augmentation did to them.

        Raises:
            AssertionError: they are not.
        """
        import torch
        from torchvision.transforms import PILToTensor

        with self._peer(PILToTensor(), shuffle=False) as loader:
            images, labels = (torch.cat(parts) for parts in zip(*loader, strict=True))
            classes = loader.dataset.dataset.classes
        seen, changed = (
            [torch.cat(parts) for parts in zip(*self._ours(self.dataset, augment=augment).epoch(0), strict=True)]
            for augment in (False, True)
        )
        for index in (seen[3], changed[3]):
            assert torch.equal(index.sort().values, torch.arange(len(images))), "not every image exactly once"
        assert torch.equal(seen[0], images[seen[3]]), "other pixels"
        names = Counter(classes[i] for i in labels)
        assert names == Counter(self.dataset.private_classes[i] for i in seen[2]), "other labels"
        assert torch.equal(seen[2], labels[seen[3]]), "other labels"
        some = 2000
        flips, places = augmentations(images[changed[3][:some]], changed[0][:some], self.pipeline.augment.pad_crop)
        assert abs(flips - 0.5) < 0.06, f"{flips:.0%} of the images are mirrored"
        assert places == (2 * self.pipeline.augment.pad_crop + 1) ** 2, f"{places} positions of the crop"
        return (
            f"without augmentation all {len(images)} images equal the peer's in every pixel and label, each exactly "
            f"once; with it, of {some} each is its original, {flips:.0%} mirrored, with {places} positions of the crop"
        )


def augmentations(images, changed, pad: int) -> tuple[float, int]:
    """(share that is mirrored, number of positions of the crop); uint8 [B, 3, H, W] before and after.

    Raises:
        AssertionError: an image is not what it was, cropped after padding and perhaps mirrored.
    """
    import torch

    side = images.shape[-1]
    padded = torch.nn.functional.pad(images, (pad,) * 4)
    mirrored, found, places = 0, torch.zeros(len(images), dtype=torch.bool), 0
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            crop = padded[:, :, top : top + side, left : left + side]
            plain, flipped = ((changed == c).flatten(1).all(1) & ~found for c in (crop, crop.flip(3)))
            found |= plain | flipped
            mirrored += int((flipped & ~plain).sum())
            places += bool((plain | flipped).any())
    assert found.all(), "an image came out that is none of the peer's"
    return mirrored / len(images), places


def copy_bandwidth() -> float:
    """Bytes read and written per second by torch's copy_ of 256 MB, the best of ten."""
    import torch

    source = torch.ones(2**28, dtype=torch.uint8)
    target = source.clone()
    seconds = []
    for _ in range(10):
        started = time.perf_counter()
        target.copy_(source)
        seconds.append(time.perf_counter() - started)
    return 2 * len(source) / min(seconds)


def write_noise(root: Path, *, side: int, count: int) -> None:
    """Below `root`, `train/<class>/*.jpg` about `count` of which remain for training, and a few in `test`."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    amplitude = np.maximum(frequency, 1 / side) ** -1.7
    for part, number in (("train", -(-count * 10 // 9)), ("test", 10 * len(CLASSES))):
        for i in range(number):
            folder = root / part / CLASSES[i % len(CLASSES)]
            folder.mkdir(parents=True, exist_ok=True)
            phases = np.exp(2j * np.pi * generator.random((3, *amplitude.shape)))
            light, *colour = np.fft.irfft2(amplitude * phases, s=(side, side))
            pixels = np.stack([light, light + 0.2 * colour[0], light + 0.2 * colour[1]], axis=-1)
            pixels = 120 + 50 * pixels / pixels.std()
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i:05}.jpg", quality=90)


if __name__ == "__main__":
    main()
