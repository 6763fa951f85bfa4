"""Every training method by name. A new one takes a file here, a line below, and options in core/method_options.py."""

from __future__ import annotations

from narl.core.point import Point
from narl.methods.base import Method
from narl.methods.cloak import Cloak
from narl.methods.deepobfuscator import DeepObfuscator
from narl.methods.disco import Disco
from narl.methods.dpfe import Dpfe
from narl.methods.gaussian_posthoc import GaussianPosthoc
from narl.methods.halves import Halves
from narl.methods.image_noise import ImageNoise
from narl.methods.maxent import MaxEnt
from narl.methods.narl import Narl
from narl.methods.no_noise import NoNoise
from narl.methods.shredder import Shredder

METHODS: dict[str, type[Method]] = {
    "narl": Narl,
    "no_noise": NoNoise,
    "image_noise": ImageNoise,
    "gaussian_posthoc": GaussianPosthoc,
    "maxent": MaxEnt,
    "disco": Disco,
    "deepobfuscator": DeepObfuscator,
    "shredder": Shredder,
    "dpfe": Dpfe,
    "cloak": Cloak,
}


def halves_of(point: Point, size: int) -> Halves:
    """Return client and server of `point` for square images of `size` pixels.

    Raises:
        ConfigError: an illegal architecture, split point or size.
    """
    return METHODS[point.method].halves(point, size)
