"""Noise that an image keeps: the countermeasure to averaging.

    η = σ · Φ⁻¹(SHAKE-256(HMAC-SHA256(key, image as uint8)))

Asking about one image again gives the same answer, so the mean of n answers is the first one. To anyone without the
key, η is N(0, σ²), independent between images. Its limits:

- It protects only exact repeats. An image changed in one pixel, re-encoded, or the next frame of a video, gets noise
  of its own, and near-duplicates can be averaged like fresh answers about what they share.
- Equal answers show that the images were equal.
- Another key means other draws, so a client that is started n times without a lasting key gives n answers to average.
- Two clients with one key must not add the same η to different features, or the difference of their answers is
  noise-free (`noise_of_client`).

The stream is cryptographic because features that a ReLU set to 0 send their noise bare: enough of it would reveal the
state of an ordinary generator, and with it the rest of η. PyTorch's CPU generator also keeps only 32 bits of its seed,
so that two of 10⁵ images would share their noise. Keyed noise costs some 50 ns a feature on one CPU core, fresh noise
10.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import math
import secrets
from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, Tensor

from narl.core.errors import ConfigError
from narl.models.noise.gaussian import GaussianNoise

KEY_BYTES = 32


class KeyedGaussianNoise(GaussianNoise):
    """z + η, η ~ N(0, σ²) decided by the image and a secret key, in training and in eval mode.

    Called without images, as by attackers who know M1 but not the key, it adds fresh draws: noise under an unknown key
    looks like that, so networks are trained and evaluated on it, one draw per image.

    Args:
        sigma: standard deviation in units of z, finite and >= 0.
        key: at least 32 secret bytes; in no state, configuration or printed form of the module.

    Raises:
        ConfigError: an illegal sigma, or a key that is too short.
    """

    def __init__(self, sigma: float, key: bytes) -> None:
        super().__init__(sigma)
        self._key = _long_enough(key)

    @property
    def is_random(self) -> bool:
        """Two answers to one image never differ."""
        return False

    def with_sigma(self, sigma: float) -> KeyedGaussianNoise:
        return KeyedGaussianNoise(sigma, self._key)

    def averaged(self, queries: float) -> KeyedGaussianNoise:
        """Return itself: all answers to one image are the same."""
        return self

    def for_images(self, images: Tensor) -> Callable[..., Tensor]:
        """Return the noise of answers about `images` [B, 3, H, W] in [0, 1], to be called with their features."""
        pixels = images.detach().mul(255).round().clamp(0, 255).to(torch.uint8).cpu().contiguous()
        seeds = [hmac.digest(self._key, image.numpy().tobytes(), "sha256") for image in pixels]
        return functools.partial(self._add, seeds)

    def _add(self, seeds: list[bytes], z: Tensor, generator: Generator | None = None) -> Tensor:
        if self.sigma == 0:
            return z
        # Image by image: so the last digit does not depend on an image's place in its batch.
        noise = torch.empty(z.shape)
        for row, seed in zip(noise, seeds, strict=True):
            row.copy_(_standard_normal(seed, row.numel()).view(row.shape))
        return z + noise.mul_(self.sigma).to(z)


def noise_of_client(sigma: float, key: bytes | None, *identity: str) -> KeyedGaussianNoise:
    """Build the noise of one deployed client, under a key of its own derived from `key` and `identity`.

    Args:
        key: at least 32 secret bytes; None: random ones, the same until the process ends.
        identity: all that features and σ depend on, say hashes of files.

    Raises:
        ConfigError: an illegal sigma, or a key that is too short.
    """
    secret = _process_key() if key is None else _long_enough(key)
    return KeyedGaussianNoise(sigma, hmac.digest(secret, ":".join(identity).encode(), "sha256"))


def training_key(seed: int) -> bytes:
    """Derive the key of a trial. It is not secret: anyone who knows the seed has it."""
    draws = torch.randint(256, (KEY_BYTES,), generator=Generator().manual_seed(seed))
    return bytes(draws.tolist())


@functools.cache
def _process_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def _long_enough(key: bytes) -> bytes:
    if len(key) < KEY_BYTES:
        raise ConfigError(f"a noise key needs at least {KEY_BYTES} secret bytes, got {len(key)}")
    return bytes(key)


def _standard_normal(seed: bytes, count: int) -> Tensor:
    """float64 [count], by inversion of 32 bits each: |values| up to 6.3."""
    stream = hashlib.shake_256(seed).digest(4 * count)
    integers = torch.from_numpy(np.frombuffer(stream, dtype="<i4").astype(np.float64))
    return math.sqrt(2) * torch.erfinv((integers + 0.5) / 2**31)
