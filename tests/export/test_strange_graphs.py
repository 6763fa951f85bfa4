"""Graphs that narl did not write: one that would read files of the device is not loaded, others end in one line."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from narl.export.manifest import write_manifest
from narl.export.runtime.narl_client import BundleError, Client
from narl.export.runtime.narl_server import Server

FACTS = {
    "client": "x/1",
    "image_size": 2,
    "fit": "squash",
    "feature_shape": [3, 2, 2],
    "draws": {"kind": "none", "shape": []},
    "utility_classes": ["even", "odd"],
}
IMAGES = np.zeros((5, 2, 2, 3), np.uint8)


def graph(*nodes, inputs="image", output="sent", initializers=()) -> bytes:
    """A graph of these nodes, (operator, inputs, outputs) each."""
    given = helper.make_tensor_value_info(inputs, TensorProto.FLOAT, [None, 3, 2, 2])
    made = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    whole = helper.make_graph([helper.make_node(*node) for node in nodes], "g", [given], [made], list(initializers))
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def elsewhere(place: str, length: bytes = b"\x08") -> bytes:
    """A graph that sends what a file holds.

    Args:
        length: of the word `location`, as protobuf may write it.
    """
    weights = numpy_helper.from_array(np.zeros((1, 3, 2, 2), np.float32), "w")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    tensor = weights.SerializeToString() + field(13, field(1, b"location", length) + field(2, place.encode()))
    # What follows a message is merged with it: GraphProto.initializer of ModelProto.graph.
    return graph(("Add", ["image", "w"], ["sent"])) + field(7, field(5, tensor))


def field(number: int, content: bytes, length: bytes | None = None) -> bytes:
    return bytes([number << 3 | 2]) + (length or bytes([len(content)])) + content


SOUND = graph(("Identity", ["image"], ["sent"]))


def bundle(folder, client=SOUND, server=SOUND):
    folder.mkdir(exist_ok=True)
    for name, content in (("client.onnx", client), ("server.onnx", server)):
        (folder / name).write_bytes(content)
    (folder / "portable.json").write_text(json.dumps(FACTS))
    write_manifest(folder, {}, ["client.onnx", "server.onnx", "portable.json"])
    return folder


@pytest.mark.parametrize("length", [b"\x08", b"\x88\x00", b"\x88\x80\x80\x00"])
@pytest.mark.parametrize("place", ["secret", "../x", "/etc/x"])
def test_a_graph_that_reads_another_file_of_the_device_is_not_loaded(tmp_path, place, length):
    content = elsewhere(place, length)
    (weights,) = onnx.load_from_string(content).graph.initializer
    assert [(entry.key, entry.value) for entry in weights.external_data] == [("location", place)]
    with pytest.raises(BundleError, match=r"client\.onnx would read other files of this device"):
        Client(bundle(tmp_path / "b", client=content))
    with pytest.raises(BundleError, match=r"server\.onnx would read other files of this device"):
        Server(bundle(tmp_path / "b", server=content))


def test_a_sound_graph_is_run(tmp_path):
    assert Client(bundle(tmp_path / "sound")).answer(IMAGES).shape == (5, 3, 2, 2)


@pytest.mark.parametrize(
    ("client", "words"),
    [
        (b"junk", r"client\.onnx cannot be run \(\[ONNXRuntimeError\]"),
        (graph(("Identity", ["other"], ["sent"]), inputs="other"), r"the graph cannot be run \(.*image"),
        (graph(("Identity", ["image"], ["result"]), output="result"), "the graph cannot be run"),
        (graph(("ReduceMean", ["image"], ["sent"])), r"gives float32 \(1, 1, 1, 1\) instead of float32 \(5, 3, 2, 2\)"),
        (graph(("IsNaN", ["image"], ["sent"])), r"cannot be run \("),
    ],
)
def test_a_graph_that_cannot_be_run_ends_in_one_line(tmp_path, client, words):
    with pytest.raises(BundleError, match=words) as caught:
        Client(bundle(tmp_path / "b", client=client)).answer(IMAGES)
    assert "\n" not in str(caught.value)


def test_a_server_gives_a_number_for_each_class_or_is_refused(tmp_path):
    server = Server(
        bundle(tmp_path / "b", server=graph(("Identity", ["sent"], ["logits"]), inputs="sent", output="logits"))
    )
    with pytest.raises(BundleError, match=r"gives float32 \(5, 3, 2, 2\) instead of float32 \(5, 1\)"):
        server.probabilities(np.zeros((5, 3, 2, 2), np.float32))
