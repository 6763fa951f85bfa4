"""Is the noise of an exported client what was promised? Tests of the artefact's own answers, none of its code.

An exported client answers in one session, in another, and in processes of their own that hold neither torch nor narl.
What it added, `answer - features`, is mapped by the claimed noise to what should be independent N(0, 1): whitened; of
clipped and of chosen noise, through its distribution function. Then the classical tests. Each test fails a sound client
with probability `CHANCE`; of many values or pairs, p is that of the worst times their number.

Letters: N answers, D values of an answer.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import special, stats
from torch import Tensor

from narl.config.bundle import PortableConfig
from narl.core.errors import NarlError
from narl.export import runtime
from narl.export.bundle import CONFIG, FACTS, PORTABLE, RUNTIME, Bundle, load_bundle, verify_bundle
from narl.export.noise_graph import drawn
from narl.export.portable import CLOSE, facts_of
from narl.export.runtime.narl_client import KEY_BYTES, Client
from narl.models.noise.bank import NoiseBank
from narl.models.noise.base import Noise, WhitenedNoise
from narl.models.noise.clipped import ClippedGaussianNoise
from narl.models.noise.pixel import PixelNoise

CHANCE = 1e-6
GROUP = 60  # answers of each session and process
COMPARED = 2048  # values whose correlations are looked at, all pairs
ROUNDED = 1e-4  # share of the largest scale: noise that is smaller is lost in rounding

_FIELD = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from narl_client import Client
client = Client(sys.argv[2], noise_key=bytes.fromhex(sys.argv[5]) or None, variant=sys.argv[6])
answers = client.answer(np.load(sys.argv[3]))
assert not {"torch", "narl"} & set(sys.modules)
np.save(sys.argv[4], answers)
"""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        said: what was found, in words.
    """

    name: str
    passed: bool
    said: str


def portable_bundle(folder: Path) -> Bundle:
    """Load a bundle that has graphs, every file checked.

    Raises:
        NarlError: it has none, is damaged, its files contradict each other, or its runtime is not that of this narl,
            which would not be run unseen.
    """
    listed = verify_bundle(folder)["files"]
    if missing := [name for name in PORTABLE if name not in listed]:
        raise NarlError(f"{folder} has no {missing[0]}: write it with narl export --from {folder} --to ANOTHER")
    for name in RUNTIME:
        if (folder / name).read_bytes() != (_runtime() / name).read_bytes():
            raise NarlError(f"{folder}: {name} is not that of this narl; export again to verify it")
    bundle = load_bundle(folder)
    try:
        agrees = PortableConfig.model_validate_json((folder / FACTS).read_bytes()) == facts_of(bundle)
    except ValueError as error:
        raise NarlError(f"{folder / FACTS} does not say what the runtime must know") from error
    if not agrees:
        raise NarlError(f"{folder / FACTS} says something else than {CONFIG}")
    return bundle


def check_noise(folder: Path, bundle: Bundle, variant: str = "float32") -> Iterator[Check]:
    """Test a client of `folder`, which `portable_bundle` loaded; yields each check as it is done.

    Args:
        variant: a smaller one has features of its own, which are not compared with torch's.
    """
    claimed = bundle.client.noise
    kind = drawn(claimed, Client(folder).sent_shape).kind
    images = np.random.default_rng(0).random((GROUP, *[bundle.config.image_size] * 2, 3), dtype=np.float32)
    if kind != "keyed":  # what differs between answers to one image is noise
        images = images[:1].repeat(GROUP, 0)
    clean = Client(folder, variant=variant).features(images)
    if variant == "float32":
        yield _same_features(bundle, images, clean, random=kind != "none")
    key = bytes(range(KEY_BYTES)) if kind == "keyed" else None
    groups = _answers(folder, variant, images, key)
    if kind == "none":
        yield _no_noise(groups, clean)
        return
    if kind == "keyed":
        yield _kept_by_key(folder, variant, groups, images)
        groups = groups[:1]
    else:
        yield _never_alike(groups)
    values = np.concatenate([_standardised(claimed, clean, group) for group in groups])
    yield from check_standard_normal(values)


def check_standard_normal(values: np.ndarray) -> Iterator[Check]:
    """Test whether values [N, D] of successive answers are independent N(0, 1)."""
    answers, width = values.shape
    square = np.square(values)
    ratio, error = np.sqrt(square.mean()), 1 / np.sqrt(2 * values.size)
    yield Check(
        "σ",
        _two_sided(stats.chi2(values.size), square.sum()) > CHANCE,
        f"{ratio:.4f} times the claimed one (± {error:.4f}, {answers} answers of {width} values)",
    )
    each = _two_sided(stats.chi2(answers), square.sum(0))
    means = 2 * stats.norm.sf(np.abs(values.mean(0)) * np.sqrt(answers))
    p = min(1.0, min(each.min(), means.min()) * 2 * width)
    yield Check("σ and mean of each value", p > CHANCE, f"p = {p:.2g} for the least likely of {width}")
    p = stats.kstest(values.ravel(), "norm").pvalue
    yield Check("distribution", p > CHANCE, f"Kolmogorov and Smirnov's p = {p:.2g}")
    some = values[:, np.random.default_rng(0).permutation(width)[:COMPARED]]
    if width > 1:
        yield _uncorrelated("between values", some.T)
    if width >= 30:
        yield _uncorrelated("between answers", values)
    products = (values[1:] * values[:-1]).sum() / np.sqrt((answers - 1) * width)
    yield Check(
        "answers that follow each other",
        2 * stats.norm.sf(abs(products)) > CHANCE,
        f"correlation {products / np.sqrt((answers - 1) * width):+.4f}, {products:+.1f} standard errors",
    )


def _answers(folder: Path, variant: str, images: np.ndarray, key: bytes | None) -> list[np.ndarray]:
    """Ask one session (image by image, then at once), a second session, and two processes."""
    first, second = (Client(folder, noise_key=key, variant=variant) for _ in range(2))
    one_by_one = np.concatenate([first.answer(image) for image in images])
    groups = [one_by_one, first.answer(images), second.answer(images)]
    with tempfile.TemporaryDirectory() as place:
        given, found = Path(place) / "images.npy", Path(place) / "answers.npy"
        np.save(given, images)
        for _ in range(2):
            command = [sys.executable, "-I", "-B", "-c", _FIELD, _runtime(), folder.resolve(), given, found]
            done = subprocess.run([*map(str, command), (key or b"").hex(), variant], capture_output=True, text=True)
            if done.returncode != 0:
                raise NarlError(f"{folder}: its runtime fails in a process of its own: {done.stderr.strip()[-500:]}")
            groups.append(np.load(found))
    return groups


def _same_features(bundle: Bundle, images: np.ndarray, clean: np.ndarray, *, random: bool) -> Check:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = (bundle.client.features(pixels) if random else bundle.client(pixels)).numpy()
    error = float(np.abs(clean - expected).max()) / max(float(np.abs(expected).max()), 1e-30)
    return Check("clean features", error <= CLOSE, f"within {error:.1e} of torch's, relative to the largest")


def _no_noise(groups: Sequence[np.ndarray], clean: np.ndarray) -> Check:
    same = all(np.allclose(group, clean, rtol=1e-5, atol=1e-6) for group in groups)
    return Check("no random noise", same, "every answer is the same" if same else "answers differ")


def _never_alike(groups: Sequence[np.ndarray]) -> Check:
    count = len({group.tobytes() for group in groups})
    return Check(
        "calls, sessions and processes",
        count == len(groups),
        f"{count} of {len(groups)} sequences of {len(groups[0])} answers to one image are different",
    )


def _kept_by_key(folder: Path, variant: str, groups: Sequence[np.ndarray], images: np.ndarray) -> Check:
    same = all(np.allclose(group, groups[0], rtol=1e-5, atol=1e-5) for group in groups)
    other = Client(folder, noise_key=bytes(range(1, KEY_BYTES + 1)), variant=variant).answer(images)
    differs = not np.isclose(other, groups[0], rtol=1e-5, atol=1e-5).all(axis=(1, 2, 3)).any()
    return Check(
        "calls, sessions and processes",
        same and differs,
        f"one key and image {'always gave the same answer' if same else 'gave different answers'}, another key "
        f"{'gave others' if differs else 'gave the same'}",
    )


def _standardised(claimed: Noise, clean: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Map what was added to what is independent N(0, 1), if the noise is as claimed: [N, D]."""
    z, f = torch.from_numpy(answers).double(), torch.from_numpy(clean).double()
    if isinstance(claimed, WhitenedNoise):
        white = claimed.whitened(z - f).detach().flatten(1) / claimed.spread
        return (white[:, _beyond_rounding(claimed)] if isinstance(claimed, PixelNoise) else white).numpy()
    if isinstance(claimed, ClippedGaussianNoise):
        return _unclipped(claimed.sigma, z.flatten(1).numpy(), f.flatten(1).numpy())
    assert isinstance(claimed, NoiseBank)
    distances = torch.stack([(z - f - member).square().flatten(1).sum(1) for member in claimed.members.detach()])
    chosen, count = distances.argmin(0).numpy(), len(claimed.members)
    return special.ndtri((chosen + _uniform(chosen.shape)) / count)[:, None]


def _beyond_rounding(noise: PixelNoise) -> Tensor:
    scales = noise.scales.detach().flatten()
    return scales > ROUNDED * scales.max()


def _unclipped(sigma: float, z: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Replace what was clipped by draws from the part of the distribution that was cut off."""
    low, high = special.ndtr(-f / sigma), special.ndtr((1 - f) / sigma)
    u = _uniform(z.shape)
    probability = np.where(z <= 0, u * low, np.where(z >= 1, high + u * (1 - high), special.ndtr((z - f) / sigma)))
    return special.ndtri(probability)


def _uniform(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng().uniform(1e-12, 1, shape)


def _uncorrelated(name: str, rows: np.ndarray) -> Check:
    """Look at the correlations of all pairs of rows [n, m], of N(0, 1)."""
    standard = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    pairs = np.abs((standard @ standard.T / rows.shape[1])[np.triu_indices(len(rows), 1)])
    # Of independent normal rows, r √(m − 2) / √(1 − r²) has Student's distribution.
    t = pairs * np.sqrt((rows.shape[1] - 2) / np.maximum(1 - pairs**2, 1e-300))
    p = min(1.0, 2 * stats.t.sf(t.max(), rows.shape[1] - 2) * len(pairs))
    return Check(name, p > CHANCE, f"largest correlation of {len(pairs)} pairs {pairs.max():.3f}, p = {p:.2g}")


def _two_sided(law, value):
    return 2 * np.minimum(law.cdf(value), law.sf(value))


def _runtime() -> Path:
    return Path(runtime.__file__).parent
