"""A bundle that needs neither narl nor torch: both halves as ONNX graphs, and the short files that run them.

client.onnx          image [B, 3, S, S] in [0, 1] and draws [B, …] -> sent [B, C, h, w]; draws nothing itself
server.onnx          sent -> logits
portable.json        a `narl.config.bundle.PortableConfig`
narl_client.py       preprocessing, checks, and draws from the operating system's generator; numpy and onnxruntime
narl_server.py       probabilities of the useful label
narl_measure.py      how long the client takes on a device, and how much memory
README.md            how to use them
"""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from narl.config.bundle import BundleConfig, ClientFacts, Draws, PortableConfig
from narl.core.errors import DAMAGED, NarlError
from narl.core.files import whole_folder
from narl.export.bundle import (
    CLIENT_GRAPH,
    FACTS,
    FILES,
    METRICS,
    PORTABLE,
    README,
    RUNTIME,
    SERVER_GRAPH,
    Bundle,
    load_bundle,
    refuse_occupied,
    verify_bundle,
    write_config,
    write_metrics,
)
from narl.export.graphs import graph_of
from narl.export.manifest import write_manifest
from narl.export.noise_graph import Drawn, drawn
from narl.export.outward import outward_config, outward_metrics
from narl.methods.catalogue import halves_of
from narl.models.split import Obfuscator

# Of a graph's results and torch's, relative to the largest: float32 sums in another order.
CLOSE = 1e-4


class ClientGraph(nn.Module):
    """M1, its noise and what ends it as one function: image, and draws if there are any -> sent."""

    def __init__(self, body: nn.Module, add: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.add = add

    def forward(self, image: Tensor, draws: Tensor | None = None) -> Tensor:
        z = self.body(image)
        return self.add(z) if draws is None else self.add(z, draws)


def make_portable(source: Path, folder: Path, *, redact: bool = False) -> dict[str, Any]:
    """Copy the bundle in `source` to `folder`, absent or empty, with the files above, and return its manifest.

    The graphs have the weights that were measured, and are run and compared with torch's networks first. What the copy
    does not say of this machine and its images: see `narl.export.outward`.

    Args:
        redact: name no class of the private label, and none of the source's.

    Raises:
        NarlError: a damaged bundle, or a client or a noise that cannot be exported, with the reason.
        ConfigError: see `refuse_occupied`.
    """
    refuse_occupied(folder)
    manifest = verify_bundle(source)
    bundle = load_bundle(source)
    with whole_folder(folder) as partial:
        for name in FILES:
            shutil.copyfile(source / name, partial / name)
        _write_outward(source, bundle.config, partial, redact=redact)
        noise = _write_graphs(bundle, partial)
        for name in RUNTIME:
            (partial / name).write_bytes(files("narl.export.runtime").joinpath(name).read_bytes())
        (partial / README).write_text(_readme(noise), encoding="utf-8")
        about = {name: value for name, value in manifest.items() if name not in ("variants", "signature")}
        return write_manifest(partial, about, (*FILES, *PORTABLE))


def _write_outward(source: Path, config: BundleConfig, folder: Path, *, redact: bool) -> None:
    """Replace what says more than it should; what does not stays as it is, to the last bit."""
    told = outward_config(config, redact=redact)
    if told != config:
        write_config(folder, told)
    try:
        metrics = json.loads((source / METRICS).read_text(encoding="utf-8"))
        if (told_metrics := outward_metrics(metrics, config, redact=redact)) != metrics:
            write_metrics(folder, told_metrics)
    except DAMAGED as error:
        raise NarlError(f"{source / METRICS} is not JSON that could be exported ({error})") from error


def _write_graphs(bundle: Bundle, folder: Path) -> Drawn:
    noise, sent = write_client_graph(folder, bundle.client, bundle.config.image_size)
    _write_graph(folder, SERVER_GRAPH, bundle.server, {"sent": sent}, "logits")
    write_facts(folder, facts_of(bundle))
    return noise


class ClientFunction(NamedTuple):
    """What a client sends as a function of image and draws, for exporters: there is no generator in it.

    Attributes:
        network: image, and draws if there are any -> sent.
        inputs: examples by name, in the order of the network's arguments, of five images.
        noise: says what is to be drawn.
    """

    network: nn.Module
    inputs: dict[str, Tensor]
    noise: Drawn


def client_function(client: Obfuscator, size: int) -> ClientFunction:
    """Write what a client sends as a function of its image and of what is to be drawn.

    Args:
        client: in eval mode.
        size: side of its images in pixels.

    Raises:
        ConfigError: a noise that cannot be exported.
    """
    generator = torch.Generator().manual_seed(0)
    # Not one, which exporters take for a constant.
    image = torch.rand(5, 3, size, size, generator=generator)
    with torch.no_grad():
        features = client.features(image)
    noise = drawn(client.noise, tuple(features.shape[1:]))
    inputs = {"image": image}
    if noise.kind != "none":
        inputs["draws"] = torch.randn(5, *noise.shape, generator=generator, dtype=torch.float64)
    return ClientFunction(ClientGraph(client.body, noise.add).eval(), inputs, noise)


def write_client_graph(folder: Path, client: Obfuscator, size: int) -> tuple[Drawn, Tensor]:
    """Write `client.onnx`; returns its noise and an example of what it sends.

    Args:
        client: in eval mode.
        size: side of its images in pixels.

    Raises:
        NarlError, ConfigError: see `make_portable`.
    """
    network, inputs, noise = client_function(client, size)
    with torch.no_grad():
        sent = network(*inputs.values())
    _write_graph(folder, CLIENT_GRAPH, network, inputs, "sent")
    return noise, sent


def _write_graph(folder: Path, name: str, network: nn.Module, inputs: dict[str, Tensor], output: str) -> None:
    content = graph_of(network, inputs, output)
    _compare(name, content, network, {key: value[:3] for key, value in inputs.items()})
    (folder / name).write_bytes(content)


def write_facts(folder: Path, facts: ClientFacts) -> None:
    (folder / FACTS).write_text(json.dumps(facts.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")


def facts_of(bundle: Bundle) -> PortableConfig:
    """Tell what the runtime must know of a bundle."""
    config = bundle.config
    shape = halves_of(config.trial, config.image_size).feature_shape
    noise = drawn(bundle.client.noise, shape)
    return PortableConfig(
        client=config.trial.costed_client,
        image_size=config.image_size,
        fit=config.pipeline.image.fit,
        feature_shape=shape,
        draws=Draws(kind=noise.kind, shape=noise.shape),
        utility_classes=config.utility_classes,
    )


def _compare(name: str, graph: bytes, network: nn.Module, inputs: dict[str, Tensor]) -> None:
    """Refuse a graph that computes something else than `network`; on another number of images than it was made of."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {key: value.numpy() for key, value in inputs.items()})
    with torch.no_grad():
        expected = network(*inputs.values()).numpy()
    error = float(np.abs(found - expected).max()) / max(float(np.abs(expected).max()), 1e-30)
    if not error <= CLOSE:
        raise NarlError(f"{name} does not compute what was measured: it differs by {error:.1e} of the largest value")


def _readme(noise: Drawn) -> str:
    each = {
        "normal": "Each answer gets fresh noise from the operating system's generator.",
        "member": "Each answer gets one of the learned noise tensors, drawn by the operating system's generator.",
        "keyed": "One image always gets the same noise, decided by a key: give `Client(noise_key=…)` the same 32 or "
        "more secret bytes each time, or a restart lets an attacker average.",
        "none": "This client adds no random noise.",
    }[noise.kind]
    return f"""# A client and its server

    pip install numpy onnxruntime pillow

On the device, beside `manifest.json`, `portable.json` and `client.onnx`, three lines make what is sent:

    from narl_client import Client
    client = Client()
    sent = client.answer(client.read("picture.jpg"))

On the server, with `server.onnx`, three lines read it:

    from narl_server import Server
    server = Server()
    print(dict(zip(server.classes, server.probabilities(sent)[0])))

{each} Smaller clients, where `manifest.json` lists them under `variants` with what each costs, utility, leakage and Δ:
`Client(variant="int8")`.

What the client costs this device, as JSON: `python narl_measure.py`.

`MODEL_CARD.md` says what is protected, against whom, how well, and what that rests on. `narl verify .` tests the client
by its own answers.

The graph draws nothing itself: another runtime must fill its input `draws` (`portable.json` says with what) from
a secure generator, anew for each image and answer.
"""
