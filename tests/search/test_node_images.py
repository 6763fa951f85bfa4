"""What a worker opens is what the driver opened: the same images, labels and classes, in the same order."""

from __future__ import annotations

import numpy as np
import pytest
from example_pipelines import DIGITS

from narl.config.pipeline import Pipeline
from narl.data.dataset import open_dataset
from narl.search.node_data import NodeData, open_on_node

ODD, EVEN = list("13579"), list("02468")


@pytest.mark.parametrize("order", [("even", "odd"), ("odd", "even")])
def test_classes_keep_the_order_of_their_map(tmp_path, monkeypatch, order):
    monkeypatch.setenv("NARL_CACHE", str(tmp_path))
    classes = {name: {"odd": ODD, "even": EVEN}[name] for name in order}
    pipeline = Pipeline.model_validate(DIGITS | {"utility": {"name": "parity", "map": classes}})
    of_driver = open_dataset(pipeline, splits=("train", "validation"))
    of_worker = open_on_node(NodeData(pipeline, cache=str(tmp_path)).arguments)
    assert of_worker.utility_classes == of_driver.utility_classes == order
    for split in ("train", "validation"):
        for ours, theirs in zip(of_driver.labels(split), of_worker.labels(split), strict=True):
            assert np.array_equal(ours, theirs)
