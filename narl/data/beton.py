"""Writing a pipeline's images as FFCV files, one per split; a finished file is always complete.

Files lie in `<cache>/<pipeline name>-<key>/`; the key changes with every byte of an image, every label and split. A
file is written under another name and renamed; its sidecar `<split>.json`, with its SHA-256, comes last, and a file
without a sidecar counts as absent.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from narl.config.pipeline import Pipeline
from narl.core.cache import cache_root, locked
from narl.core.errors import DataError
from narl.core.files import whole_file
from narl.data.beton_check import check_beton
from narl.data.beton_store import open_beton_store
from narl.data.digests import digests
from narl.data.ffcv_support import require_ffcv
from narl.data.labelled import Labelled, label
from narl.data.local_copy import sha256_of
from narl.data.preprocess import read_squares
from narl.data.progress import progress_bar
from narl.data.readable import check_readable
from narl.data.splits import SPLITS

State = Literal["built", "fetched", "up to date"]


@dataclass(frozen=True)
class Beton:
    """One finished FFCV file, which was built, fetched from the pipeline's store, or there already."""

    split: str
    path: Path
    images: int
    state: State


def build_betons(
    pipeline: Pipeline, cache_dir: Path | str | None = None, progress: bool = True, force: bool = False
) -> dict[str, Path]:
    """Write the .beton file of every split that is absent or whose content would differ.

    Raises:
        DataError: no FFCV, an image that cannot be read, no room, or a damaged file.
    """
    betons = ensure_betons(pipeline, label(pipeline, cache_dir), cache_dir, progress=progress, force=force)
    return {beton.split: beton.path for beton in betons}


def ensure_betons(
    pipeline: Pipeline,
    labelled: Labelled,
    cache_dir: Path | str | None = None,
    *,
    progress: bool = True,
    force: bool = False,
    reread: bool = True,
) -> list[Beton]:
    """Do as `build_betons` for a source that is already open; says of each file whether it was built.

    Args:
        reread: read all finished files whole, rather than only those that may have been written to since.
    """
    require_ffcv()
    folder = cache_root(cache_dir) / f"{pipeline.name}-{labelled.key}"

    def without_a_file() -> tuple[str, ...]:
        there = [split for split in SPLITS if _is_finished(folder / f"{split}.beton")]
        known = digests(folder, [f"{split}.beton" for split in there], cache_dir, reread=reread)
        for split in there:
            check_beton(folder / f"{split}.beton", known[f"{split}.beton"], pipeline, labelled, split)
        return tuple(split for split in SPLITS if split not in there)

    missing = SPLITS if force else without_a_file()
    fetched: tuple[str, ...] = ()
    if missing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder):
                # Another process may have built them while this one waited.
                missing = SPLITS if force else without_a_file()
                for stale in folder.glob("*.tmp*"):
                    stale.unlink()
                if missing and not force and (store := pipeline.beton.store) is not None:
                    fetched = _fetched(store, folder, pipeline, labelled, missing)
                    missing = tuple(split for split in missing if split not in fetched)
                if missing:
                    try:
                        _build(folder, pipeline, labelled, missing, progress)
                    except DataError:
                        check_readable(labelled, cache_dir)  # names the others too
                        raise
        except OSError as error:
            raise DataError(f"cannot write FFCV files to {folder}: {error}") from error

    def state(split: str) -> State:
        return "built" if split in missing else "fetched" if split in fetched else "up to date"

    return [Beton(split, folder / f"{split}.beton", len(labelled.indices[split]), state(split)) for split in SPLITS]


def _is_finished(path: Path) -> bool:
    return path.exists() and path.with_suffix(".json").exists()


def _fetched(
    location: str, folder: Path, pipeline: Pipeline, labelled: Labelled, splits: tuple[str, ...]
) -> tuple[str, ...]:
    """Fetch those of `splits` that the store has and that pass every check; a notice says why others do not."""
    done = []
    try:
        store = open_beton_store(location, folder.name)
        for split in splits:
            store.fetch(folder, split)
            try:
                path = folder / f"{split}.beton"
                check_beton(path, sha256_of(path), pipeline, labelled, split)
            except DataError:
                (folder / f"{split}.json").unlink(missing_ok=True)
                raise
            done.append(split)
    except DataError as error:
        logging.getLogger("narl").warning("FFCV files are written here, not fetched: %s", error)
    return tuple(done)


def _build(folder: Path, pipeline: Pipeline, labelled: Labelled, splits: tuple[str, ...], progress: bool) -> None:
    total = sum(len(labelled.indices[split]) for split in splits)
    with progress_bar(f"{pipeline.name}.beton", total, progress) as advance:
        for split in splits:
            path = folder / f"{split}.beton"
            sidecar = path.with_suffix(".json")
            sidecar.unlink(missing_ok=True)  # from here until the new one is written, the file counts as absent
            with whole_file(path, name=f"{path.name}.tmp") as temporary:
                _write_images(temporary, pipeline, labelled, split, advance)
                size, digest = temporary.stat().st_size, sha256_of(temporary)
            content = {
                "key": labelled.key,
                "split": split,
                "images": len(labelled.indices[split]),
                "bytes": size,
                "sha256": digest,
                "utility_classes": labelled.utility_classes,
                "private_classes": labelled.private_classes,
            }
            with whole_file(sidecar, name=f"{sidecar.name}.tmp") as temporary:
                temporary.write_text(json.dumps(content, indent=1))


def _write_images(path: Path, pipeline: Pipeline, labelled: Labelled, split: str, advance) -> None:
    """Write with FFCV's writer, without its worker processes: if one of those dies, the parent waits for ever.

    Stored as `jpg`, a JPEG file that already has the right size is kept as it is; other images are encoded.
    """
    from ffcv.fields import IntField, RGBImageField
    from ffcv.memory_allocator import MemoryAllocator
    from ffcv.writer import DatasetWriter, handle_sample

    from narl.data.jpeg import SquareField, jpeg_file_of

    image_field = SquareField(
        pipeline.image.size, write_mode=pipeline.stored_as, jpeg_quality=pipeline.beton.jpeg_quality
    )
    fields = {"image": RGBImageField(), "utility": IntField(), "private": IntField(), "index": IntField()}
    encoders = fields | {"image": image_field}
    indices = labelled.indices[split]
    utility, private = labelled.labels(split)
    page_size = 2**21 if pipeline.image.size <= 256 else 2**23  # a file has two pages at least, an image one at most
    writer = DatasetWriter(str(path), fields, page_size=page_size)
    writer.num_samples = len(indices)
    writer.prepare()
    try:
        allocator = MemoryAllocator(str(path), writer.data_region_start, writer.page_size)
        metadata: np.ndarray | None = np.frombuffer(
            writer.metadata_sm.buf, dtype=writer.metadata_type, count=len(indices)
        )
        with allocator:
            for i, image in enumerate(read_squares(labelled.source, indices, pipeline.image)):
                if pipeline.stored_as == "jpg":
                    as_it_is = jpeg_file_of(labelled.source.file(indices[i]), image)
                    image = image if as_it_is is None else as_it_is
                sample = (image, utility[i], private[i], i)
                handle_sample(sample, i, writer.metadata_type.names, metadata, allocator, encoders)
                advance()
        writer.finalize(allocator.allocations)
    finally:
        metadata = None
        writer.metadata_sm.unlink()
        with suppress(BufferError):  # the frames of an error on its way may still look into it
            writer.metadata_sm.close()
