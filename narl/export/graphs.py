"""Networks as ONNX graphs of any batch size, with nothing in them of the machine that wrote them."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from narl.core.errors import NarlError
from narl.models.small_maps.plain import plain

# ONNX Runtime 1.17 and later reads it.
OPSET = 20


def graph_of(network: nn.Module, inputs: Mapping[str, Tensor], output: str) -> bytes:
    """Write `network`, in eval mode, as an ONNX model whose first dimensions are all the batch.

    Args:
        inputs: examples by name, in the order of the network's arguments; at least two images each.
        output: its name.

    Raises:
        NarlError: the network cannot be exported; says why in one line.
    """
    batch = torch.export.Dim("batch")
    try:
        with _quiet():
            program = torch.onnx.export(
                plain(network).eval().requires_grad_(False),
                tuple(inputs.values()),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=tuple({0: batch} for _ in inputs),
                input_names=list(inputs),
                output_names=[output],
                verbose=False,
            )
        assert program is not None
        model = program.model_proto
    except Exception as error:  # whatever a converter meets in a network it does not know
        raise NarlError(
            f"{type(network).__name__} cannot be written as an ONNX graph ({str(error).splitlines()[0]})"
        ) from error
    _forget_the_writer(model)
    return model.SerializeToString(deterministic=True)


@contextlib.contextmanager
def _quiet():
    """The exporter tells of its progress and of its dependencies' deprecations."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


def _forget_the_writer(message: Any) -> None:
    """Clear every description and note in a protobuf message, which hold stack traces, and so paths and names."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.message_type is not None and field.message_type.name != "TensorProto":
            for part in value if hasattr(value, "__len__") else (value,):
                _forget_the_writer(part)
