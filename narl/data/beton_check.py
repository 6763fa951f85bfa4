"""Is this .beton file what it should be? Asked before FFCV maps it, because FFCV follows its addresses unchecked."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from narl.config.pipeline import Pipeline
from narl.core.errors import DAMAGED, DataError
from narl.data.labelled import Labelled

FIELDS = {"image": 2, "utility": 1, "private": 1, "index": 1}  # name -> FFCV's number of the field type
MODES = {"jpg": 0, "raw": 1}


def check_beton(path: Path, sha256: str, pipeline: Pipeline, labelled: Labelled, split: str) -> None:
    """Check the file and its SHA-256 against the sidecar, and header, addresses and labels against the source.

    Raises:
        DataError: the file is truncated, damaged or belongs to something else.
    """
    try:
        sidecar = json.loads(path.with_suffix(".json").read_text())
        fault = _sidecar_fault(path, sidecar, labelled, split) or _content_fault(path, pipeline, labelled, split)
        if not fault and sha256 != sidecar["sha256"]:
            fault = "its SHA-256 is not that of what was written, so some of its pixels are others"
    except (OSError, *DAMAGED) as error:
        fault = f"it cannot be read ({error})"
    if fault:
        raise DataError(
            f"{path} is not the {split} set of pipeline {pipeline.name!r}: {fault}; "
            "`narl data build --force` writes it again"
        )


def _sidecar_fault(path: Path, sidecar: dict[str, Any], labelled: Labelled, split: str) -> str | None:
    if sidecar["key"] != labelled.key or sidecar["split"] != split:
        return f"it holds the {sidecar['split']} set of other data or settings ({sidecar['key']}, not {labelled.key})"
    size = os.path.getsize(path)
    if size != sidecar["bytes"]:
        return f"it has {size} bytes where {sidecar['bytes']} were written, so it is truncated or another file"
    return None


def _content_fault(path: Path, pipeline: Pipeline, labelled: Labelled, split: str) -> str | None:
    from ffcv.fields import IntField, RGBImageField
    from ffcv.types import ALLOC_TABLE_TYPE, CURRENT_VERSION, FieldDescType, HeaderType, get_metadata_type

    count, size = len(labelled.indices[split]), os.path.getsize(path)
    header = np.fromfile(path, HeaderType, 1)[0]
    if header["version"] != CURRENT_VERSION or header["num_fields"] != len(FIELDS):
        return "its header is not that of an FFCV file written by narl"
    described = np.fromfile(path, FieldDescType, len(FIELDS), offset=HeaderType.itemsize)
    fields = {bytes(field["name"]).rstrip(b"\0").decode(): int(field["type_id"]) for field in described}
    if fields != FIELDS:
        return f"its fields are {', '.join(fields)}"
    if header["num_samples"] != count:
        return f"it has {header['num_samples']} images, the source has {count}"
    table_at = int(header["alloc_table_ptr"])
    if size != table_at + count * ALLOC_TABLE_TYPE.itemsize:
        return "its table of addresses is not at its end"

    metadata_type = get_metadata_type([RGBImageField(), IntField(), IntField(), IntField()])
    metadata_at = HeaderType.itemsize + described.nbytes
    metadata = np.fromfile(path, metadata_type, count, offset=metadata_at)
    image, utility, private, index = (metadata[f"f{i}"] for i in range(4))
    wanted_utility, wanted_private = labelled.labels(split)
    if not (
        np.array_equal(utility, wanted_utility)
        and np.array_equal(private, wanted_private)
        and np.array_equal(index, np.arange(count))
    ):
        return "its labels are not those of the source"
    side = pipeline.image.size
    if (image["width"] != side).any() or (image["height"] != side).any():
        return f"its images are not {side} x {side} pixels"
    if (image["mode"] != MODES[pipeline.stored_as]).any():
        return f"its images are not stored as {pipeline.stored_as}"

    table = np.fromfile(path, ALLOC_TABLE_TYPE, count, offset=table_at)
    order = np.argsort(table["ptr"])
    ends = table["ptr"] + table["size"]
    in_bounds = (table["ptr"] >= metadata_at + metadata.nbytes) & (table["ptr"] < table_at) & (ends <= table_at)
    in_bounds &= table["size"] <= size  # else `ends` may have overflowed
    if not in_bounds.all() or not np.array_equal(table["ptr"][order], np.sort(image["data_ptr"])):
        return "its table of addresses is damaged"
    if pipeline.stored_as == "raw" and (table["size"] != side * side * 3).any():
        return "its images have the wrong number of bytes"
    return None
