"""A client's network in smaller numbers: float16, or int8 weights and activations. Its noise stays in float64.

Only the network before the noise is converted, and then joined with the noise's graph as it is: noise that is rounded
to a grid, or a sum that is, would tell the features' last bits.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from narl.core.errors import ConfigError
from narl.export.bundle import VARIANTS, Bundle
from narl.export.graphs import graph_of
from narl.export.noise_graph import drawn


def write_variant(folder: Path, bundle: Bundle, name: str, calibration: Iterable[np.ndarray]) -> Path:
    """Write the variant `name` of the client in `folder`, and return its file.

    Args:
        name: one of `VARIANTS`.
        calibration: what int8 takes the range of each activation from: float32 [B, 3, S, S] in [0, 1].

    Raises:
        ConfigError: a client that runs no network.
    """
    import onnx
    from onnx.compose import merge_models

    client = bundle.client
    if not any(parameter.numel() for parameter in client.body.parameters()):
        raise ConfigError(f"{bundle.config.trial.client} runs no network on the client: there is no {name} of it")
    size = bundle.config.image_size
    image = torch.rand(5, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = client.features(image)
    noise = drawn(client.noise, tuple(features.shape[1:]))
    inputs = {"features": features}
    if noise.kind != "none":
        inputs["draws"] = torch.zeros(5, *noise.shape, dtype=torch.float64)
    body = onnx.load_from_string(graph_of(client.body, {"image": image}, "body_features"))
    body = _halved(body) if name == "float16" else _quantised(body, calibration)
    added = onnx.compose.add_prefix(
        onnx.load_from_string(graph_of(noise.add, inputs, "sent")), "noise_", rename_inputs=False, rename_outputs=False
    )
    body.ir_version = added.ir_version
    merged = merge_models(body, added, io_map=[("body_features", "features")])
    path = folder / VARIANTS[name]
    path.write_bytes(merged.SerializeToString(deterministic=True))
    return path


def _halved(body):
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    halved = OnnxModel(convert_float_to_float16(body, keep_io_types=True))
    halved.topological_sort()  # the casts of input and output come last otherwise
    return halved.model


def _quantised(body, calibration: Iterable[np.ndarray]):
    """Quantise statically, weights by channel."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        batches = iter(calibration)

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {"image": batch}

    log = logging.getLogger()
    level = log.level
    with tempfile.TemporaryDirectory() as place:
        before, after = Path(place) / "body.onnx", Path(place) / "int8.onnx"
        onnx.save(body, before)
        log.setLevel(logging.ERROR)  # it recommends a preparation that the exporter has done
        try:
            quantize_static(
                before,
                after,
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            log.setLevel(level)
        return onnx.load(after)
