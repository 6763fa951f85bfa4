"""The client of a narl bundle: images to what is sent, on any device with numpy and ONNX Runtime.

    from narl_client import Client, read_image

    client = Client()                             # the bundle that this file lies in
    sent = client.answer(client.read("a.png"))    # float32 [1, C, h, w], other noise each time

The graph `client.onnx` draws nothing: its input `draws` is filled here, from the operating system's generator, so no
two answers, sessions, processes or devices share their noise. Needs Pillow only to read files.

Letters: B images, S pixels a side, C, h, w shape of what is sent.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
KEY_BYTES = 32
LONG = 16  # of pictures so many times longer than wide, only the part that is kept is resized
AT_ONCE = 64  # images whose draws are in memory at a time

_process_key: list[bytes] = []


class BundleError(ValueError):
    """Files, images or a key that cannot be used; says why in one line."""


class Bundle:
    """The files of a bundle, each checked against `manifest.json` when it is read.

    Args:
        folder: that holds them.

    Raises:
        BundleError: a file is missing or is not the one that was exported.
    """

    def __init__(self, folder: Path | str = HERE) -> None:
        self.folder = Path(folder)
        try:
            self._files = json.loads((self.folder / "manifest.json").read_bytes())["files"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{self.folder} holds no readable manifest.json ({error})") from error
        self.facts: dict[str, Any] = json.loads(self.read("portable.json"))

    def read(self, name: str) -> bytes:
        """Return the content of the file `name`."""
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise BundleError(f"{self.folder}: {name} cannot be read ({error.strerror})") from error
        if name not in self._files or self.sha256(name) != hashlib.sha256(content).hexdigest():
            raise BundleError(f"{self.folder}: {name} is not the file that was exported (its SHA-256 differs)")
        return content

    def has(self, name: str) -> bool:
        """Tell whether the bundle has a file of that name."""
        return name in self._files

    def sha256(self, name: str) -> str:
        """Return what the manifest says of the file `name`."""
        return self._files[name]["sha256"]

    def session(self, name: str, threads: int) -> onnxruntime.InferenceSession:
        """Load the graph `name`; 0 threads: as many as the runtime chooses.

        Raises:
            BundleError: no such file, or none that can be run.
        """
        content = self.read(name)
        # The key by which ONNX names a file of weights, as protobuf writes it. Whatever file of this device a stranger's
        # graph named would be read, and could be sent.
        if re.search(rb"[\0\x08]location", content):
            raise BundleError(f"{self.folder}: {name} would read other files of this device")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no class in common
            raise BundleError(f"{self.folder}: {name} cannot be run ({one_line(error)})") from error


class Client:
    """What runs on the device.

    Args:
        folder: of the bundle.
        noise_key: at least 32 secret bytes that decide keyed noise; None: random bytes for the life of the process,
            after which an image gets other noise. Different clients get different noise from one key.
        variant: `float32` is what was measured; `float16` and `int8` are smaller, if the bundle has them.
        threads: of ONNX Runtime; 0: it chooses.

    Attributes:
        name: of what the device runs, `mobilenet_v3_small/3`.
        size: S.
        sent_shape: (C, h, w).

    Raises:
        BundleError: damaged files, a graph that cannot be run, a key that is too short, or a key for noise that is not
            keyed.
    """

    def __init__(
        self,
        folder: Path | str = HERE,
        *,
        noise_key: bytes | None = None,
        variant: str = "float32",
        threads: int = 0,
    ) -> None:
        bundle = Bundle(folder)
        graph = "client.onnx" if variant == "float32" else f"client.{variant}.onnx"
        self.name: str = bundle.facts.get("client", "")
        self.size: int = bundle.facts["image_size"]
        self.sent_shape = tuple(bundle.facts["feature_shape"])
        self._fit: str = bundle.facts["fit"]
        self._kind: str = bundle.facts["draws"]["kind"]
        self._shape = tuple(bundle.facts["draws"]["shape"])
        self._session = bundle.session(graph, threads)
        self._key = self._own_key(noise_key, bundle.sha256(graph))

    def answer(self, images: np.ndarray) -> np.ndarray:
        """Return what is sent about `images`, noise included: float32 [B, C, h, w].

        Args:
            images: RGB, [B, S, S, 3] or one [S, S, 3]; uint8, or floating point in [0, 1].

        Raises:
            BundleError: images of another shape, type or range.
        """
        return self._run(images, self._draws)

    predict = answer  # as MLflow calls it

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return what `answer` would be without noise, for tests of the client: never send it."""
        return self._run(images, lambda pixels: np.zeros((len(pixels), *self._shape)))

    def read(self, path: Path | str) -> np.ndarray:
        """Read a picture as the client was trained on them: see `read_image`."""
        return read_image(path, self.size, self._fit)

    def _run(self, images: np.ndarray, draw) -> np.ndarray:
        pixels = unit_range(images, self.size)
        sent = np.empty((len(pixels), *self.sent_shape), np.float32)
        for start in range(0, len(pixels), AT_ONCE):
            part = pixels[start : start + AT_ONCE]
            inputs = {"image": part}
            if self._kind != "none":
                inputs["draws"] = draw(part)
            sent[start : start + AT_ONCE] = result_of(self._session, "sent", inputs, (len(part), *self.sent_shape))
        return sent

    def _draws(self, pixels: np.ndarray) -> np.ndarray:
        """Draw for images [B, 3, S, S]: float64 [B, *shape]."""
        shape = (len(pixels), *self._shape)
        if self._kind == "normal":
            return secure_normal(int(np.prod(shape))).reshape(shape)
        if self._kind == "member":
            chosen = [secrets.randbelow(self._shape[0]) for _ in pixels]
            return np.eye(self._shape[0])[chosen]
        return np.stack([keyed_normal(self._key, image, self._shape) for image in pixels]).reshape(shape)

    def _own_key(self, noise_key: bytes | None, identity: str) -> bytes:
        """Derive this client's key, so that one key never adds the same noise to the features of two clients."""
        if noise_key is not None and self._kind != "keyed":
            raise BundleError(f"this client's noise is {self._kind!r}, which takes no key: leave noise_key out")
        if noise_key is None:
            _process_key.extend([] if _process_key else [secrets.token_bytes(KEY_BYTES)])
            noise_key = _process_key[0]
        if len(noise_key) < KEY_BYTES:
            raise BundleError(f"a noise key needs at least {KEY_BYTES} secret bytes, got {len(noise_key)}")
        return hmac.digest(noise_key, identity.encode(), "sha256")


def result_of(
    session: onnxruntime.InferenceSession, name: str, inputs: dict[str, np.ndarray], shape: tuple[int, ...]
) -> np.ndarray:
    """Run a graph; returns its result `name`, float32 of that shape.

    Raises:
        BundleError: it cannot be run so, or gives something else.
    """
    try:
        (found,) = session.run([name], inputs)
    except Exception as error:
        raise BundleError(f"the graph cannot be run ({one_line(error)})") from error
    if not isinstance(found, np.ndarray) or found.shape != shape or found.dtype != np.float32:
        raise BundleError(f"the graph gives {getattr(found, 'dtype', '')} {np.shape(found)} instead of float32 {shape}")
    return found


def one_line(error: Exception) -> str:
    """Return the beginning of what an error says."""
    return " ".join(str(error).split())[:200]


# MLflow's model registry loads the client by this name.
_load_pyfunc = Client


def unit_range(images: np.ndarray, size: int) -> np.ndarray:
    """Turn RGB images [B, S, S, 3] or [S, S, 3] into what the graph takes: float32 [B, 3, S, S] in [0, 1].

    Raises:
        BundleError: another shape, a type other than uint8 and floating point, or values beyond [0, 1].
    """
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4 or images.shape[1:] != (size, size, 3):
        raise BundleError(f"images must be RGB, [B, {size}, {size}, 3] or [{size}, {size}, 3], got {images.shape}")
    if images.dtype == np.uint8:
        pixels = images.astype(np.float32) / np.float32(255)
    elif np.issubdtype(images.dtype, np.floating):
        if images.size and not (images.min() >= 0 and images.max() <= 1):  # NaN is neither
            raise BundleError(f"images must lie in [0, 1], got {images.min():g} to {images.max():g}")
        pixels = images.astype(np.float32)
    else:
        raise BundleError(f"images must be uint8, or floating point in [0, 1], got {images.dtype}")
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def read_image(path: Path | str, size: int, fit: str) -> np.ndarray:
    """Read a picture upright, as a square: uint8 [S, S, 3]. Needs Pillow.

    Args:
        fit: `center_crop` resizes the shorter side to `size` and cuts the middle out; `squash` resizes both sides.

    Raises:
        BundleError: Pillow is missing, or the file is no picture of 8 bits a channel.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise BundleError("reading pictures needs Pillow: pip install pillow (arrays need nothing)") from None
    try:
        with Image.open(path) as opened:
            if opened.mode.startswith(("I", "F")):
                raise BundleError(f"{path}: pictures of more than 8 bits a channel are not supported")
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise BundleError(f"cannot read the picture {path}: {error}") from error
    if picture.size == (size, size):
        return np.array(picture)
    target = (size, size)
    if fit == "center_crop":
        scale = size / min(picture.size)
        target = (max(size, round(picture.width * scale)), max(size, round(picture.height * scale)))
    left, top = (target[0] - size) // 2, (target[1] - size) // 2
    if max(target) > LONG * size:
        across, down = picture.width / target[0], picture.height / target[1]
        kept = (left * across, top * down, (left + size) * across, (top + size) * down)
        return np.array(picture.resize((size, size), Image.Resampling.BILINEAR, box=kept))
    return np.array(picture.resize(target, Image.Resampling.BILINEAR))[top : top + size, left : left + size]


def secure_normal(count: int) -> np.ndarray:
    """Draw independent N(0, 1) from the operating system's generator: float64 [count].

    53 bits each, by inversion: the draws are as fine as float64 holds probabilities, |values| up to 8.3.
    """
    bits = np.frombuffer(os.urandom(8 * count), "<u8") >> np.uint64(11)
    # Every step is exact: 2^53 probabilities, none of them 0 or 1, symmetric about 1/2.
    return normal_quantile((bits.astype(np.int64) - 2**52 + 0.5) / 2**53)


def keyed_normal(key: bytes, image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Compute the N(0, 1) that `key` and an image [3, S, S] in [0, 1] decide: float64 `shape`, from 32 bits each."""
    count = int(np.prod(shape))
    pixels = np.clip(np.rint(image * np.float32(255)), 0, 255).astype(np.uint8)
    seed = hmac.digest(key, pixels.tobytes(), "sha256")
    integers = np.frombuffer(hashlib.shake_256(seed).digest(4 * count), "<i4")
    return normal_quantile((integers + 0.5) / 2**32).reshape(shape)


def normal_quantile(q: np.ndarray) -> np.ndarray:
    """Compute Φ⁻¹(1/2 + q), -1/2 < q < 1/2, to about 16 digits: Wichura 1988, algorithm AS 241.

    Taken from the middle, since 1/2 + q would round what lies near 1.
    """
    x = np.empty(q.shape)
    middle = np.abs(q) <= 0.425
    x[middle] = q[middle] * _ratio(_MIDDLE, 0.180625 - q[middle] ** 2)
    outer = q[~middle]
    r = np.sqrt(-np.log(0.5 - np.abs(outer)))
    x[~middle] = np.sign(outer) * np.where(r <= 5, _ratio(_TAIL, r - 1.6), _ratio(_FAR, r - 5))
    return x


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], r: np.ndarray) -> np.ndarray:
    above, below = coefficients
    return np.polyval(above, r) / np.polyval(below, r)


# Numerator and denominator, the highest power first.
_MIDDLE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.387132872796366608,
    ),
    (
        5.226495278852854561e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
_TAIL = (
    (
        7.7454501427834140764e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258,
        3.64784832476320460504,
        5.76949722146069140550,
        4.63033784615654529590,
        1.42343711074968357734,
    ),
    (
        1.05075007164441684324e-9,
        5.475938084995344946e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940,
        2.05319162663775882187,
        1.0,
    ),
)
_FAR = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580,
        5.46378491116411436990,
        6.65790464350110377720,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ),
)
