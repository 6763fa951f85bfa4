"""A trained configuration as files: both halves, configuration, metrics, and a manifest with the SHA-256 of each.

client.safetensors   state of the obfuscator (M1 and its noise)
server.safetensors   state of M2, the utility network on the server, and of the layer before it that standardises z
config.yaml          a `narl.config.bundle.BundleConfig`
metrics.json         what was measured
manifest.json        format, version, time, size and SHA-256 of each file; written last

`narl.export.portable` adds both halves as ONNX graphs and what runs them without narl.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from os.path import isdir, isfile, islink
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

import narl
from narl.config.bundle import BundleConfig
from narl.config.load import build, read_yaml
from narl.core.errors import ConfigError, NarlError
from narl.core.files import whole_folder
from narl.core.paths import user_path
from narl.export.manifest import FORMAT, FORMAT_VERSION, MANIFEST, fingerprint, parse_manifest, write_manifest
from narl.export.stores import Store

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from narl.models.split import Obfuscator

CLIENT, SERVER, CONFIG, METRICS = "client.safetensors", "server.safetensors", "config.yaml", "metrics.json"
FILES = (CLIENT, SERVER, CONFIG, METRICS)
# What `narl.export.portable` adds.
CLIENT_GRAPH, SERVER_GRAPH, FACTS, README = "client.onnx", "server.onnx", "portable.json", "README.md"
RUNTIME = ("narl_client.py", "narl_server.py", "narl_measure.py")
PORTABLE = (CLIENT_GRAPH, SERVER_GRAPH, FACTS, *RUNTIME, README)
CARD = "MODEL_CARD.md"  # what `narl.report.card` adds
# What `narl.export.variants` adds, by name.
VARIANTS = {name: f"client.{name}.onnx" for name in ("float16", "int8")}


def write_bundle(
    folder: Path | str,
    *,
    client_state: Mapping[str, Tensor],
    server_state: Mapping[str, Tensor],
    config: BundleConfig,
    metrics: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the files and return the manifest. The folder appears at once with everything in it, or not at all.

    Args:
        folder: must not exist, or be empty.

    Raises:
        ConfigError: see `refuse_occupied`.
    """
    folder = Path(folder)
    refuse_occupied(folder)
    with whole_folder(folder) as partial:
        _save_tensors(client_state, partial / CLIENT)
        _save_tensors(server_state, partial / SERVER)
        write_config(partial, config)
        write_metrics(partial, metrics)
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "narl_version": narl.__version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        return write_manifest(partial, manifest, FILES)


def write_config(folder: Path, config: BundleConfig) -> None:
    text = yaml.safe_dump(config.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True)
    (folder / CONFIG).write_text(text, encoding="utf-8")


def write_metrics(folder: Path, metrics: Any) -> None:
    (folder / METRICS).write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def refuse_occupied(folder: Path) -> None:
    """Fail before hours of training rather than after.

    Raises:
        ConfigError: `folder` is a file, or a folder that is not empty, or cannot be made.
    """
    if isfile(folder) or (isdir(folder) and any(folder.iterdir())):
        raise ConfigError(f"{folder} exists already: name another folder, or remove it")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ConfigError(f"{folder} cannot be made: {above} is not a folder that can be written to")


def verify_bundle(folder: Path | str) -> dict[str, Any]:
    """Check every file against the manifest, and return that.

    Raises:
        NarlError: no manifest, a manifest of another kind, or a file that is missing, changed or outside the folder.
    """
    folder = Path(folder)
    if not isfile(folder / MANIFEST):
        raise NarlError(f"{folder} holds no {MANIFEST}: it is not an export, or not a finished one")
    manifest = parse_manifest((folder / MANIFEST).read_bytes(), folder, FILES)
    for name, expected in manifest["files"].items():
        path = folder / name
        if islink(path):
            raise NarlError(f"{folder}: the manifest names {name!r}, which is not a plain file of the bundle")
        if not isfile(path):
            raise NarlError(f"{folder}: {name} is missing")
        if fingerprint(path) != expected:
            raise NarlError(f"{folder}: {name} is not the file that was exported (its size or SHA-256 differs)")
    return manifest


class Bundle(NamedTuple):
    """Both halves as `load_bundle` gives them, in eval mode on the CPU, and their configuration.

    Attributes:
        client: images [B, 3, S, S] float32 in [0, 1] -> what is sent, [B, C, h, w], noise included.
        server: what was sent -> logits [B, `config.utility_outputs`].
    """

    client: Obfuscator
    server: nn.Module
    config: BundleConfig

    def query(self, images: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Let the server read the client's answers: the probability of each of `config.utility_classes`, [B, K].

        Args:
            images: [B, 3, S, S] float32 in [0, 1], S being `config.image_size`.
            generator: of the noise, on the images' device; None: torch's global one. Keyed noise draws nothing.

        Raises:
            ConfigError: images of another shape or range.
        """
        import torch

        size = self.config.image_size
        if images.shape[1:] != (3, size, size) or not images.is_floating_point():
            given = f"{images.dtype} {tuple(images.shape)}".removeprefix("torch.")
            raise ConfigError(f"images must be floating point [B, 3, {size}, {size}], got {given}")
        if len(images) and not (images.min() >= 0 and images.max() <= 1):
            low, high = images.aminmax()
            raise ConfigError(f"images must lie in [0, 1], got {low:g} to {high:g}")
        with torch.no_grad():
            logits = self.server(self.client(images, generator))
        if self.config.utility_outputs > 1:
            return logits.softmax(1)
        second = logits.sigmoid()
        return torch.cat([1 - second, second], 1)


def load_bundle(folder: Path | str, noise_key: bytes | None = None) -> Bundle:
    """Load client and server from a folder that `narl train` or `narl export` wrote; every file is checked.

    Args:
        folder: with manifest.json.
        noise_key: at least 32 secret bytes that decide keyed noise, never stored; None: random bytes for the life of
            the process, after which an image gets other noise. Different bundles get different noise from one key.

    Raises:
        NarlError: the bundle fails `verify_bundle`, or its weights do not fit its configuration.
        ConfigError: a key that is too short, or a key for noise that is not keyed.
    """
    from narl.methods.catalogue import halves_of
    from narl.models.noise.keyed import noise_of_client
    from narl.models.standardise import Standardised

    folder = user_path(folder)
    manifest = verify_bundle(folder)
    config = build(BundleConfig, read_yaml(folder / CONFIG), str(folder / CONFIG))
    point = config.trial
    halves = halves_of(point, config.image_size)
    client = halves.client(seed=point.seed)
    server = halves.rest(num_outputs=config.utility_outputs, seed=point.seed)
    if manifest["format_version"] > 1:
        server = Standardised(server, halves.feature_shape[0])
    for module, name in ((client, CLIENT), (server, SERVER)):
        _load_tensors(module, folder / name)
    if isinstance(point.sigma_inference, float):
        client.noise = client.noise.with_sigma(point.sigma_inference)
    if point.noise == "keyed":
        identity = (manifest["files"][name]["sha256"] for name in (CLIENT, CONFIG))
        client.noise = noise_of_client(client.noise.sigma, noise_key, *identity)
    elif noise_key is not None:
        raise ConfigError(f"{folder} adds fresh noise, which takes no key: leave noise_key out")
    return Bundle(client.eval(), server.eval(), config)


def upload_bundle(folder: Path | str, store: Store) -> str:
    """Check the bundle and make it what is read in `store`; returns what there is to say besides.

    Raises:
        NarlError: a damaged bundle, or a store that cannot be used. What was read there before still is.
    """
    folder = Path(folder)
    return store.publish(folder, verify_bundle(folder))


def _save_tensors(state: Mapping[str, Tensor], path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    # The file holds dense tensors that share no memory, whatever layout training used.
    save_file({k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in state.items()}, path)


def _load_tensors(module: nn.Module, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise NarlError(f"{path} does not fit its configuration ({str(error).splitlines()[0]})") from error
