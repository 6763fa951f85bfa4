"""Both loaders: the same samples, labels and pixels for one seed, every sample once, whatever the batch size."""

from __future__ import annotations

import importlib.util
import os
import runpy
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data import digits_pipeline, folder_pipeline, write_images

from narl.config.load import build
from narl.config.pipeline import Augment, Pipeline
from narl.core.errors import ConfigError, DataError
from narl.data import dataset as dataset_module
from narl.data.augment import ONE, Augmentation, recoloured
from narl.data.dataset import open_dataset
from narl.data.labelled import label

HAS_FFCV = importlib.util.find_spec("ffcv") is not None
needs_ffcv = pytest.mark.skipif(not HAS_FFCV, reason="FFCV is not installed")
BOTH = ["tensor", pytest.param("ffcv", marks=needs_ffcv)]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    names = ["tensor", "ffcv"] if HAS_FFCV else ["tensor"]
    return {name: open_dataset(digits_pipeline(), loader=name, cache_dir=cache) for name in names}


def source_images(dataset, split):
    """uint8 [N, 3, H, W] of a split, one image at a time from the source."""
    from narl.data.preprocess import to_square

    labelled = dataset._labelled
    images = [to_square(labelled.source.image(i), dataset.pipeline.image) for i in labelled.indices[split]]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("batch_size", [1, 13, 167, 1000])
def test_every_sample_once_with_its_own_pixels_and_labels(datasets, name, batch_size):
    dataset = datasets[name]
    loader = dataset.loader("train", batch_size=batch_size, seed=5, shuffle=True)
    assert loader.num_samples == 167 and len(loader) == -(-167 // batch_size)
    # All batches are held until the epoch is over: none may be overwritten by a later one.
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader)
    assert [len(batch.index) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    index = torch.cat([batch.index for batch in batches])
    assert index.sort().values.tolist() == list(range(167))
    assert index.tolist() != list(range(167))
    utility, private = dataset.labels("train")
    assert torch.equal(torch.cat([batch.utility for batch in batches]), utility[index])
    assert torch.equal(torch.cat([batch.private for batch in batches]), private[index])
    assert torch.equal(torch.cat([batch.images for batch in batches]), source_images(dataset, "train")[index])


@pytest.mark.parametrize("name", BOTH)
def test_batches_have_the_promised_form(datasets, name):
    batch = next(datasets[name].loader("validation", batch_size=4).epoch(0))
    assert batch.images.shape == (4, 3, 12, 12) and batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.index.tolist() == [0, 1, 2, 3]
    assert {t.dtype for t in (batch.utility, batch.private, batch.index)} == {torch.int64}
    assert torch.equal(batch.utility, batch.private % 2)  # parity of the digit
    assert datasets[name].utility_classes == ("even", "odd")
    assert datasets[name].private_classes == tuple("0123456789")


@needs_ffcv
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    split=st.sampled_from(["train", "validation"]),
    batch_size=st.integers(1, 200),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 500),
    shuffle=st.booleans(),
    augment=st.booleans(),
)
def test_ffcv_equals_tensor(datasets, split, batch_size, seed, epoch, shuffle, augment):
    asked = {"batch_size": batch_size, "seed": seed, "shuffle": shuffle, "augment": augment}
    first, second = (list(datasets[name].loader(split, **asked).epoch(epoch)) for name in ("tensor", "ffcv"))
    assert_same_batches(first, second)


def assert_same_batches(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.share == other.share
        assert all(torch.equal(a, b) for a, b in zip(one[:4], other[:4], strict=True))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["tensor", "ffcv"] if HAS_FFCV else ["tensor"]),
    batch_size=st.integers(1, 200),
    epoch=st.integers(0, 500),
    workers=st.integers(1, 9),
)
def test_the_shares_of_all_workers_are_the_batches_of_one(datasets, name, batch_size, epoch, workers):
    """Of 167 images the last batch is most often uneven, and sometimes smaller than the number of workers."""
    asked = {"batch_size": batch_size, "seed": 3, "shuffle": True, "augment": True}
    loader = datasets[name].loader
    whole = loader("train", **asked).epoch(epoch)
    each = [loader("train", **asked, rank=rank, workers=workers).epoch(epoch) for rank in range(workers)]
    for batch, *shares in zip(whole, *each, strict=True):
        assert sum(part.share.counts for part in shares) == pytest.approx(len(batch.index))
        sizes = {len(part.index) for part in shares}
        assert min(sizes) > 0 and max(sizes) - min(sizes) <= 1
        if len(batch.index) < workers:
            assert all(torch.equal(part.images, batch.images) and part.share.is_whole for part in shares)
        else:
            for field in ("images", "utility", "private", "index"):
                assert torch.equal(torch.cat([getattr(part, field) for part in shares]), getattr(batch, field))
            assert [part.share.start for part in shares[1:]] == [part.share.stop for part in shares[:-1]]


def whole_epoch(loader, number):
    """Images in the order of the split."""
    batches = list(loader.epoch(number))
    index = torch.cat([batch.index for batch in batches])
    return torch.cat([batch.images for batch in batches])[index.argsort()], index


def test_epochs_and_seeds_differ_and_repeat(datasets):
    def epoch(seed, number, batch_size=32):
        return whole_epoch(
            datasets["tensor"].loader("train", batch_size=batch_size, seed=seed, shuffle=True, augment=True), number
        )

    images, order = epoch(1, 1)
    same_images, same_order = epoch(1, 1, batch_size=7)  # the batch size decides neither order nor augmentation
    assert torch.equal(images, same_images) and torch.equal(order, same_order)
    for other in (epoch(1, 2), epoch(2, 1)):
        assert not torch.equal(images, other[0]) and not torch.equal(order, other[1])


def test_nothing_random_comes_from_global_state(datasets):
    for dataset in datasets.values():
        loader = dataset.loader("train", batch_size=32, shuffle=True, augment=True)
        state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
        list(loader.epoch(0))
        assert torch.equal(torch.get_rng_state(), state)
        assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_augmentation_is_a_shift_of_the_flipped_image():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (40, 6, 6, 3), dtype=torch.uint8, generator=generator)
    change = Augmentation.draw(Augment(flip=True, pad_crop=2), 40, generator)
    index = torch.randperm(40, generator=generator)
    changed = change(images, index)
    for i, position in enumerate(index.tolist()):
        padded = torch.zeros(10, 10, 3, dtype=torch.uint8)
        padded[2:8, 2:8] = images[position]
        top, left = change.top[position], change.left[position]
        crop = padded[top : top + 6, left : left + 6]
        assert torch.equal(changed[i], crop.flip(1) if change.flip[position] else crop)
    assert 5 < change.flip.sum() < 35 and set(change.top.tolist()) == {0, 1, 2, 3, 4}


def pictures(seed, count=5, height=7, width=6):
    """uint8 [count, height, width, 3], each of its own range of values."""
    generator = torch.Generator().manual_seed(seed)
    top = torch.randint(1, 257, (count, 1, 1, 1), generator=generator)
    return (torch.rand(count, height, width, 3, generator=generator) * top).to(torch.uint8)


def factors(least=0.0, most=2.0, count=5):
    values = st.lists(st.floats(least, most), min_size=count, max_size=count)
    return values.map(lambda given: (ONE * torch.tensor(given, dtype=torch.float64)).round().long())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), brightness=factors(), contrast=factors())
def test_colours_are_those_of_torchvision_within_one_level(seed, brightness, contrast):
    from torchvision.transforms.functional import adjust_brightness, adjust_contrast

    images = pictures(seed)
    brighter = recoloured(images, brightness, torch.full_like(contrast, ONE))
    ours = recoloured(images, brightness, contrast)
    for i in range(len(images)):
        theirs = adjust_brightness(images[i].permute(2, 0, 1), brightness[i].item() / ONE)
        assert (brighter[i].permute(2, 0, 1).int() - theirs.int()).abs().max() <= 1
        # Each step by itself: a level of the first is up to two after the second.
        theirs = adjust_contrast(brighter[i].permute(2, 0, 1), contrast[i].item() / ONE)
        assert (ours[i].permute(2, 0, 1).int() - theirs.int()).abs().max() <= 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), brightness=factors(), contrast=factors())
def test_colours_one_picture_at_a_time_and_factor_one(seed, brightness, contrast):
    images, same = pictures(seed), torch.full((5,), ONE)
    assert torch.equal(recoloured(images, same, same), images)
    alone = [recoloured(images[i : i + 1], brightness[i : i + 1], contrast[i : i + 1]) for i in range(5)]
    assert torch.equal(recoloured(images, brightness, contrast), torch.cat(alone))
    assert not recoloured(images, 0 * same, same).any()  # black
    flat = recoloured(images, same, 0 * same)
    assert torch.equal(flat, flat[:, :1, :1, :1].expand_as(flat))  # grey


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**40), jitter=st.floats(0.01, 1), pad=st.integers(0, 4), flip=st.booleans())
def test_colours_are_drawn_evenly_and_after_everything_else(seed, jitter, pad, flip):
    def draw(**config):
        return Augmentation.draw(Augment(flip=flip, pad_crop=pad, **config), 400, torch.Generator().manual_seed(seed))

    change, again, plain = draw(color_jitter=jitter), draw(color_jitter=jitter), draw()
    assert len(plain.brightness) == len(plain.contrast) == 0
    for name in ("flip", "top", "left"):
        assert torch.equal(getattr(change, name), getattr(plain, name))
    for name in ("brightness", "contrast"):
        drawn = getattr(change, name)
        assert torch.equal(drawn, getattr(again, name)) and drawn.dtype == torch.int64
        moved = (drawn / ONE - 1) / jitter
        assert moved.abs().max() <= 1 + 1e-3 and moved.min() < -0.9 and moved.max() > 0.9 and moved.mean().abs() < 0.2
    assert not torch.equal(change.brightness, change.contrast)


def test_colours_change_after_the_crop():
    images = pictures(3, count=40)
    config = Augment(flip=True, pad_crop=2)
    change = Augmentation.draw(config.model_copy(update={"color_jitter": 0.5}), 40, torch.Generator().manual_seed(1))
    moved = Augmentation.draw(config, 40, torch.Generator().manual_seed(1))
    index = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    expected = recoloured(moved(images, index), change.brightness[index], change.contrast[index])
    assert torch.equal(change(images, index), expected)


@pytest.mark.parametrize("jitter", [-0.1, 1.5, True])
def test_illegal_jitter_is_refused(jitter):
    with pytest.raises(ConfigError, match="color_jitter"):
        digits_pipeline(augment={"color_jitter": jitter})


def test_no_augmentation_unless_the_pipeline_asks():
    dataset = open_dataset(digits_pipeline(augment={}), loader="tensor")
    plain, changed = (
        torch.cat([b.images for b in dataset.loader("validation", batch_size=9, augment=augment).epoch(0)])
        for augment in (False, True)
    )
    assert torch.equal(plain, changed)


def test_splits_that_were_not_opened_are_refused(datasets):
    for use in (datasets["tensor"].labels, lambda split: datasets["tensor"].loader(split, batch_size=4)):
        with pytest.raises(DataError, match="the search sees train and validation only"):
            use("test")
        with pytest.raises(DataError, match="unknown split 'trian'.*did you mean 'train'"):
            use("trian")
    with pytest.raises(DataError, match="unknown split"):
        open_dataset(digits_pipeline(), splits=("tests",), loader="tensor")
    opened = open_dataset(digits_pipeline(), splits=("test",), loader="tensor")
    assert len(opened.labels("test")[0]) == 73


def test_bad_batch_size_and_loader_name(datasets):
    with pytest.raises(DataError, match="at least 1, got 0"):
        datasets["tensor"].loader("train", batch_size=0)
    with pytest.raises(DataError, match="unknown loader 'tensors'.*did you mean 'tensor'"):
        open_dataset(digits_pipeline(), loader="tensors")


def test_without_ffcv_auto_means_tensor_and_ffcv_says_how_to_get_it(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "ffcv", None)
    monkeypatch.setitem(sys.modules, "ffcv.loader", None)
    dataset_module._best_loader.cache_clear()
    try:
        assert open_dataset(digits_pipeline(), loader="auto").loader_name == "tensor"
        assert open_dataset(digits_pipeline(), loader="auto").loader_name == "tensor"
    finally:
        dataset_module._best_loader.cache_clear()
    assert len([record for record in caplog.records if "loaded as tensors" in record.message]) == 1
    with pytest.raises(DataError, match=r"narl\[ffcv\].*libopencv-dev libturbojpeg0-dev pkg-config g\+\+"):
        open_dataset(digits_pipeline(), loader="ffcv")


@needs_ffcv
def test_auto_means_ffcv_where_it_can_be_imported(tmp_path):
    dataset_module._best_loader.cache_clear()
    assert open_dataset(digits_pipeline(), cache_dir=tmp_path).loader_name == "ffcv"


@needs_ffcv
def test_importing_ffcv_leaves_the_thread_count_of_torch_alone_and_compiles_nothing():
    script = (
        "import torch; torch.set_num_threads(2)\n"
        "from numba.core.event import install_recorder\n"
        "from narl.data.ffcv_support import require_ffcv\n"
        "with install_recorder('numba:compile') as compiled: require_ffcv()\n"
        "assert torch.get_num_threads() == 2 and not compiled.buffer\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


@needs_ffcv
def test_ffcv_leaves_the_thread_count_of_torch_alone(datasets):
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            list(datasets["ffcv"].loader("train", batch_size=64).epoch(0))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@needs_ffcv
def test_two_epochs_at_once_do_not_mix(datasets):
    loaders = [datasets["ffcv"].loader("train", batch_size=size, seed=size, shuffle=True) for size in (10, 10)]
    reference = datasets["tensor"].loader("train", batch_size=10, seed=10, shuffle=True)
    for one, other, expected, following in zip(
        loaders[0].epoch(0), loaders[1].epoch(1), reference.epoch(0), reference.epoch(1), strict=True
    ):
        assert torch.equal(one.images, expected.images)
        assert torch.equal(other.images, following.images)


@needs_ffcv
@pytest.mark.parametrize("taken", [1, 2, 14])
def test_an_abandoned_epoch_leaves_no_thread_behind(datasets, taken):
    loader = datasets["ffcv"].loader("train", batch_size=11)
    list(loader.epoch(0))
    before = threading.active_count()
    epoch = loader.epoch(1)
    for _ in range(taken):
        next(epoch)
    epoch.close()
    assert threading.active_count() == before


@needs_ffcv
@pytest.mark.parametrize("pad", [0, 1, 7, 64])  # images are 12 pixels wide
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("jitter", [0, 0.1, 1])
@pytest.mark.parametrize("batch_size", [50, 167])
def test_ffcv_equals_tensor_for_every_kind_of_augmentation(datasets, pad, flip, jitter, batch_size):
    pipeline = digits_pipeline(augment={"flip": flip, "pad_crop": pad, "color_jitter": jitter})
    cache = datasets["ffcv"]._betons["train"].parents[1]
    plain, tensor, ffcv = (
        whole_epoch(
            open_dataset(pipeline, loader=name, cache_dir=cache).loader(
                "train", batch_size=batch_size, seed=3, shuffle=True, augment=augment
            ),
            4,
        )
        for name, augment in (("tensor", False), ("tensor", True), ("ffcv", True))
    )
    assert torch.equal(tensor[0], ffcv[0]) and torch.equal(tensor[1], ffcv[1])
    assert torch.equal(plain[0], ffcv[0]) == (not flip and pad == 0 and jitter == 0)


@needs_ffcv
def test_an_image_that_ffcv_reads_is_the_one_that_narl_reads(animals, tmp_path):
    """FFCV's own loader, as a second opinion of the files; of JPEG it makes other pixels, within a few steps."""
    ours, files = {}, []
    for write_mode in ("raw", "jpg"):
        pipeline = folder_pipeline(animals, image={"size": 24}, beton={"write_mode": write_mode})
        dataset = open_dataset(pipeline, loader="ffcv", cache_dir=tmp_path / "cache")
        (ours[write_mode],) = dataset.loader("train", batch_size=99).epoch(0)
        files += [dataset._betons["train"], tmp_path / f"{write_mode}.npz"]
    script = Path(__file__).parent / "read_with_ffcv.py"
    subprocess.run([sys.executable, script, *files], check=True, timeout=300)
    for write_mode, tolerance in (("raw", 0), ("jpg", 15)):
        mine, theirs = ours[write_mode], np.load(tmp_path / f"{write_mode}.npz")
        assert np.array_equal(theirs["private"], mine.private)
        difference = np.abs(theirs["images"].astype(int) - mine.images.permute(0, 2, 3, 1).numpy()).max()
        assert difference <= tolerance, write_mode


@needs_ffcv
def test_threads_take_turns_without_mixing_up_images(datasets):
    before = torch.get_num_threads()
    expected = list(datasets["tensor"].loader("train", batch_size=11, seed=2, shuffle=True, augment=True).epoch(7))
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            batches = datasets["ffcv"].loader("train", batch_size=11, seed=2, shuffle=True, augment=True).epoch(7)
            assert all(torch.equal(a.images, b.images) for a, b in zip(expected, batches, strict=True))
    finally:
        torch.set_num_threads(before)


@needs_ffcv
def test_blocks_of_many_sizes_give_the_same_batches(datasets, monkeypatch):
    from narl.data import ffcv_reader

    expected = list(datasets["tensor"].loader("train", batch_size=11, seed=2, shuffle=True, augment=True).epoch(7))
    for size in (1, 11 * 12 * 12 * 3, 100 * 12 * 12 * 3):
        monkeypatch.setattr(ffcv_reader, "BLOCK", size)
        batches = list(datasets["ffcv"].loader("train", batch_size=11, seed=2, shuffle=True, augment=True).epoch(7))
        assert all(torch.equal(a.images, b.images) for a, b in zip(expected, batches, strict=True))


@needs_ffcv
def test_compiled_code_need_not_be_kept(datasets, monkeypatch):
    from numba.core.caching import CacheImpl

    from narl.data import assemble, ffcv_reader

    loader = datasets["ffcv"].loader("train", batch_size=50, augment=True)
    expected = list(loader.epoch(0))
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])  # no folder can be written to
    uncached = runpy.run_path(assemble.__file__)["assemble"]
    monkeypatch.setattr(ffcv_reader, "assemble", uncached)
    assert all(torch.equal(a.images, b.images) for a, b in zip(expected, loader.epoch(0), strict=True))


@needs_ffcv
def test_memory_is_pinned_once_cuda_is_in_use(datasets, monkeypatch):
    pinned = []
    empty = torch.empty

    def recorded(*shape, pin_memory=False, **settings):
        pinned.append(pin_memory)
        return empty(*shape, **settings)  # without CUDA there is no pinned memory

    loader = datasets["ffcv"].loader("train", batch_size=50, augment=True)
    expected = list(loader.epoch(0))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch, "empty", recorded)
    assert all(torch.equal(a.images, b.images) for a, b in zip(expected, loader.epoch(0), strict=True))
    assert pinned and all(pinned)


@needs_ffcv
def test_files_of_several_pages(tmp_path):
    for name in ("cat", "dog"):
        write_images(tmp_path / "set" / name, 16)
    pipeline = folder_pipeline(tmp_path / "set", image={"size": 256}, beton={"write_mode": "raw"})
    stored, exact = (
        next(open_dataset(pipeline, loader=name, cache_dir=tmp_path).loader("train", batch_size=99).epoch(0))
        for name in ("ffcv", "tensor")
    )
    assert exact.images.nbytes > 2 * 2**21  # bytes of a page
    assert torch.equal(stored.images, exact.images)


def first_batch(pipeline, name, cache):
    return next(open_dataset(pipeline, loader=name, cache_dir=cache).loader("train", batch_size=99).epoch(0))


def jpeg_pipeline(root, size):
    return folder_pipeline(root, image={"size": size}, beton={"write_mode": "jpg", "jpeg_quality": 100})


@needs_ffcv
def test_images_encoded_as_jpeg_are_nearly_the_same(animals, tmp_path):
    stored, exact = (first_batch(jpeg_pipeline(animals, 64), name, tmp_path / "cache") for name in ("ffcv", "tensor"))
    assert torch.equal(stored.private, exact.private) and torch.equal(stored.index, exact.index)
    assert 0 < (stored.images.float() - exact.images.float()).abs().mean() < 12


@pytest.fixture
def photos(tmp_path):
    """JPEG files of 40 x 40 pixels, of two classes."""
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(12):
            pixels = Image.fromarray(generator.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize((40, 40))
            subsampling, progressive = ("4:4:4", "4:2:2", "4:2:0")[i % 3], i % 2 == 0
            pixels.save(
                tmp_path / "photos" / name / f"{i}.jpg", quality=60, subsampling=subsampling, progressive=progressive
            )
    return tmp_path / "photos"


@needs_ffcv
@pytest.mark.parametrize(("pad", "jitter"), [(3, 0), (0, 0.3), (3, 1)])
def test_jpeg_files_of_the_right_size_are_stored_as_they_are(photos, tmp_path, pad, jitter):
    pipeline = jpeg_pipeline(photos, 40)
    stored, exact = (first_batch(pipeline, name, tmp_path / "cache") for name in ("ffcv", "tensor"))
    assert torch.equal(stored.images, exact.images)
    content = next((tmp_path / "cache").glob("*/train.beton")).read_bytes()
    labelled = label(pipeline)
    assert all(labelled.source.file(i).read_bytes() in content for i in labelled.indices["train"])
    stored, exact = (
        whole_epoch(
            open_dataset(
                pipeline.model_copy(update={"augment": Augment(flip=True, pad_crop=pad, color_jitter=jitter)}),
                loader=name,
                cache_dir=tmp_path / "cache",
            ).loader("train", batch_size=5, shuffle=True, augment=True),
            1,
        )
        for name in ("ffcv", "tensor")
    )
    assert torch.equal(stored[0], exact[0])


@needs_ffcv
def test_jpeg_files_that_do_not_lie_as_they_are_seen_are_encoded_again(photos, tmp_path):
    for i, path in enumerate(sorted(photos.rglob("*.jpg"))):
        with Image.open(path) as image:
            if i % 2:
                exif = image.getexif()
                exif[0x0112] = 6  # to be turned by a quarter
                image.copy().save(path, exif=exif, quality=95)
            else:
                image.convert("CMYK").save(path, quality=95)
    stored, exact = (first_batch(jpeg_pipeline(photos, 40), name, tmp_path / "cache") for name in ("ffcv", "tensor"))
    assert 0 < (stored.images.float() - exact.images.float()).abs().mean() < 3


@needs_ffcv
@pytest.mark.parametrize("batch_size", [1, 99])
def test_an_image_that_cannot_be_decoded_is_named(photos, tmp_path, batch_size):
    pipeline = jpeg_pipeline(photos, 40)
    dataset = open_dataset(pipeline, loader="ffcv", cache_dir=tmp_path / "cache")
    beton, labelled = dataset._betons["train"], label(pipeline)
    content, damaged = beton.read_bytes(), labelled.source.file(labelled.indices["train"][3]).read_bytes()
    beton.write_bytes(content.replace(damaged, bytes(len(damaged))))
    threads = threading.active_count()
    loader = dataset.loader("train", batch_size=batch_size)  # the files of a dataset are checked when it is opened
    with pytest.raises(DataError, match="image 3 of .*train.beton cannot be decoded.*--force"):
        list(loader.epoch(0))
    assert threading.active_count() == threads


@pytest.mark.cifar10
@pytest.mark.skipif(
    not os.environ.get("NARL_CIFAR10_FOLDER"),
    reason="NARL_CIFAR10_FOLDER does not name a folder with train/<class>/*.jpg and test/<class>/*.jpg",
)
@pytest.mark.parametrize("name", BOTH)
def test_cifar10_folder(name, tmp_path):
    root = Path(os.environ["NARL_CIFAR10_FOLDER"]).expanduser()
    living = {"no": ["airplane", "automobile", "ship", "truck"], "yes": ["bird", "cat", "deer", "dog", "frog", "horse"]}
    content = {
        "name": "cifar10",
        "source": {"kind": "image_folder", "root": str(root), "train": "train", "test": "test"},
        "utility": {"name": "living", "map": living},
        "private": {"name": "class"},
        "splits": {"train_limit": 2000, "validation_limit": 500, "test_limit": 500},
    }
    dataset = open_dataset(build(Pipeline, content, "test"), loader=name, cache_dir=tmp_path)
    utility, private = dataset.labels("train")
    assert private.bincount().tolist() == [200] * 10 and utility.bincount().tolist() == [800, 1200]
    batches = list(dataset.loader("train", batch_size=256, shuffle=True).epoch(0))
    assert torch.cat([batch.index for batch in batches]).sort().values.tolist() == list(range(2000))
    mean = torch.cat([batch.images for batch in batches]).float().mean()
    assert 110 < mean < 130  # about 120 over the whole training set
