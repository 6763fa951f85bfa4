"""The training methods that a configuration can name, and what can be set for each.

Names and ranges only, so that configurations are checked without torch; narl/methods/ has one file per method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from narl.core.errors import unknown_name

Bound = Literal["none", "sigmoid", "l2-clip"]
NoiseKind = Literal["fresh", "keyed"]
# Pixels a side: up to this size the published value for CIFAR-10 holds, for larger images the one for faces.
LARGEST_SMALL = 64


@dataclass(frozen=True)
class Setting:
    """A number of a method's own, from `low` to `high`, both included.

    Attributes:
        default: the published value, or ours where none was published.
        whole: only whole numbers.
        meaning: for error messages and documentation.
    """

    default: float
    low: float
    high: float
    meaning: str
    whole: bool = False


@dataclass(frozen=True)
class MethodOptions:
    """What a configuration of one method may contain.

    Attributes:
        uses_split, uses_sigma, uses_lambda: whether the method has a split point, noise of standard deviation σ, a
            weight λ of the leakage; what it does not use must be left out or be 0.
        bounds_features: whether a bound (narl/models/bounds.py) may end M1.
        settings: the method's own numbers by name.
        client: what runs on the client, in words.
        compared_at: at which split points the paper shows it: `each` that is asked for, only the `first` of them, the
            `last` that the architecture has, or those of a client of its `own`.
        published: settings, and `sigma`, whose published value depends on the size of the images: the one for small
            images, and the one for larger ones.
    """

    client: str
    uses_split: bool = True
    uses_sigma: bool = False
    uses_lambda: bool = False
    bounds_features: bool = False
    settings: Mapping[str, Setting] = field(default_factory=dict)
    compared_at: Literal["each", "first", "last", "own"] = "first"
    published: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def published_at(self, size: int) -> dict[str, float]:
        """Return `published` for images of `size` pixels a side."""
        return {name: values[size > LARGEST_SMALL] for name, values in self.published.items()}

    @property
    def noise_on_features(self) -> bool:
        """Whether the client adds Gaussian noise to M1's features."""
        return self.uses_split and self.uses_sigma


METHODS: dict[str, MethodOptions] = {
    "narl": MethodOptions("M1 + N(0, σ²)", uses_sigma=True, uses_lambda=True, bounds_features=True, compared_at="each"),
    "no_noise": MethodOptions("M1", uses_lambda=True, bounds_features=True, compared_at="each"),
    "image_noise": MethodOptions(
        "image + N(0, σ²), clipped", uses_split=False, uses_sigma=True, published={"sigma": (0.8, 2.0)}
    ),
    "gaussian_posthoc": MethodOptions(
        "M1 of a network trained for utility alone + N(0, σ²)",
        uses_sigma=True,
        bounds_features=True,
        compared_at="each",
    ),
    "maxent": MethodOptions(
        "M1, average pool, linear bottleneck",
        settings={
            "alpha": Setting(0.5, 0.0, 0.999, "weight of the adversary's entropy; the task has 1 − alpha"),
            "dimension": Setting(128, 2, 4096, "width of the bottleneck", whole=True),
        },
        compared_at="last",
        published={"dimension": (128.0, 256.0)},
    ),
    "disco": MethodOptions(
        "M1, channel pruning",
        settings={
            "pruning_ratio": Setting(0.99, 0.0, 0.9999, "share of the channels that is cut; one is always kept"),
            "rho": Setting(0.5, 0.0, 1.0, "the pruner's weight of the leakage; the task has 1 − rho"),
            "temperature": Setting(1 / 30, 1e-4, 10.0, "of the soft mask in training"),
        },
    ),
    "deepobfuscator": MethodOptions(
        "M1",
        uses_lambda=True,
        settings={"lambda_reconstruction": Setting(1.0, 0.0, 1e4, "weight of the decoder's MS-SSIM")},
        compared_at="own",
    ),
    "shredder": MethodOptions(
        "M1 of a network trained for utility alone + one of its learned noise tensors",
        settings={
            "alpha": Setting(0.01, 0.0, 1e3, "weight of the noise's growth"),
            "bank_size": Setting(20, 1, 1000, "noise tensors to draw from", whole=True),
        },
    ),
    "dpfe": MethodOptions(
        "M1, linear encoder, noise shaped like the features",
        settings={
            "dimension": Setting(10, 2, 4096, "width of the code", whole=True),
            "noise_scale": Setting(1.0, 0.0, 1e3, "the noise's covariance, as a multiple of the features'"),
        },
    ),
    "cloak": MethodOptions(
        "image + learned noise, its least needed pixels cut",
        uses_split=False,
        settings={
            "alpha": Setting(0.1, 0.0, 1e3, "weight of the noise's growth"),
            "max_sigma": Setting(1.0, 1e-3, 1e2, "largest standard deviation of a pixel's noise"),
            "suppressed": Setting(0.5, 0.0, 0.999, "share of the image's values that is cut"),
        },
    ),
}


def check_method(method: str) -> str:
    """Raise ValueError, with the nearest name, unless `method` is one."""
    if method not in METHODS:
        raise ValueError(unknown_name("method", method, METHODS))
    return method


def check_setting(method: str, name: str, value: float) -> float:
    """Raise ValueError unless `method` has a setting `name` that may be `value`."""
    settings = METHODS[method].settings
    if name not in settings:
        known = unknown_name("setting", name, settings) if settings else f"unknown setting {name!r}: it has none"
        raise ValueError(f"method {method}: {known}")
    setting = settings[name]
    if not setting.low <= value <= setting.high:
        raise ValueError(
            f"method {method}: {name} must be from {setting.low:g} to {setting.high:g}, got {value:g} "
            f"({setting.meaning})"
        )
    if setting.whole and value != int(value):
        raise ValueError(f"method {method}: {name} must be a whole number, got {value:g}")
    return value


def complete_settings(method: str, given: Mapping[str, float]) -> dict[str, float]:
    """Complete the settings of `method`: checked, those not `given` at their defaults, sorted by name."""
    for name, value in given.items():
        check_setting(method, name, value)
    return {name: float(given.get(name, s.default)) for name, s in sorted(METHODS[method].settings.items())}
