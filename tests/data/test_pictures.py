"""Picture files: only pixels decide whether they can be read, and whatever a file raises, it is named."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from narl.core.errors import DataError
from narl.data.sources.picture import PNG, read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
XMP = '<x:xmpmeta xmlns:tiff="t"><rdf tiff:Orientation="6"/></x:xmpmeta>'


def encoded(kind: str, **settings) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind, **settings)
    return file.getvalue()


def with_metadata(kind: str) -> bytes:
    """A picture with everything that a camera or a program writes beside the pixels."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x010F] = 6, (1, 3), "maker"
    exif.get_ifd(0x8769)[0x9003] = "2001:01:01 00:00:00"
    settings = {"exif": exif, "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}
    if kind == "PNG":
        settings["pnginfo"] = PngInfo()
        settings["pnginfo"].add_text("a", "b" * 100, zip=True)
        settings["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP, zip=True)
    else:
        settings |= {"xmp": XMP.encode(), "quality": 90} | ({"lossless": True} if kind == "WEBP" else {"comment": b"c"})
    return encoded(kind, **settings)


def metadata(kind: str, content: bytes) -> list[tuple[int, int]]:
    """Where in the file the content of metadata lies."""
    places = []
    at = {"JPEG": 2, "PNG": 8, "WEBP": 12}[kind]
    while at < len(content) and not (kind == "JPEG" and content[at + 1] == 0xDA):
        if kind == "JPEG":
            (size,) = struct.unpack(">H", content[at + 2 : at + 4])
            wanted, start, end = 0xE1 <= content[at + 1] <= 0xED or content[at + 1] == 0xFE, at + 4, at + 2 + size
        elif kind == "PNG":
            (size,) = struct.unpack(">I", content[at : at + 4])
            name = content[at + 4 : at + 8]
            wanted, start, end = name not in (b"IHDR", b"IDAT", b"IEND"), at + 8, at + 8 + size
        else:
            (size,) = struct.unpack("<I", content[at + 4 : at + 8])
            wanted, start, end = content[at : at + 4] in (b"EXIF", b"XMP ", b"ICCP"), at + 8, at + 8 + size
        places += [(start, end)] if wanted else []
        at = end + {"JPEG": 0, "PNG": 4, "WEBP": size & 1}[kind]
    return places


def with_right_sums(content: bytearray) -> bytes:
    """A PNG file whose chunks have the checksums of what is in them."""
    at = len(PNG)
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        content[at + 8 + size : at + 12 + size] = struct.pack(">I", zlib.crc32(content[at + 4 : at + 8 + size]))
        at += 12 + size
    return bytes(content)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "picture"

    def read(content: bytes) -> np.ndarray:
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read_image(path, hashlib.sha256(content).hexdigest())

    return read


WHOLE = {kind: with_metadata(kind) for kind in ("JPEG", "PNG", "WEBP")}


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(WHOLE)), st.data())
def test_no_metadata_keeps_a_picture_from_being_read(read, kind, data):
    """Turned as it was, or as it lies: damage may take the orientation, or give another."""
    content = bytearray(WHOLE[kind])
    start, end = data.draw(st.sampled_from(metadata(kind, content)))
    for _ in range(data.draw(st.sampled_from([1, 2, 8, 40]))):
        content[data.draw(st.integers(start, end - 1))] = data.draw(st.integers(0, 255))
    damaged = with_right_sums(content) if kind == "PNG" else bytes(content)
    lying = np.array(Image.open(io.BytesIO(WHOLE[kind])).convert("RGB"))
    turned = [np.rot90(side, quarter) for side in (lying, lying[::-1]) for quarter in range(4)]
    assert any(np.array_equal(read(damaged), picture) for picture in turned)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["BMP", "GIF", "JPEG", "PNG", "PPM", "TGA", "TIFF", "WEBP"]), st.data())
def test_whatever_a_damaged_file_raises_names_it(read, kind, data):
    content = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    try:
        pixels = read(bytes(content))
    except DataError as error:
        assert "/picture" in str(error)
    else:
        assert pixels.dtype == np.uint8 and pixels.ndim == 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_turned_as_pillow_turns_it(read, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(kind, exif=exif)
    upright = np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
    assert np.array_equal(read(content), upright)
    assert upright.shape == ((32, 24, 3) if orientation > 4 else (24, 32, 3))


def test_a_resolution_that_is_no_number_turns_nothing_away(read):
    """Pillow can read this EXIF block and cannot write it: resolution -1/0, of signed integers."""
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHII", 0x011A, 10, 1, 38)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + b"\0\0\0\0" + struct.pack("<ii", -1, 0)
    content = encoded("JPEG", exif=exif)
    lying = np.array(Image.open(io.BytesIO(content)))
    assert np.array_equal(read(content), np.rot90(lying, -1))


def test_a_picture_has_a_limit_of_pixels(read):
    content = bytearray(encoded("PNG"))
    content[16:24] = struct.pack(">II", 20_000, 20_000)
    with pytest.raises(DataError, match=r"/picture: .*400000000 pixels.* exceeds limit of 178956970 pixels"):
        read(with_right_sums(content))


def test_a_text_of_megabytes_is_passed_over(read):
    info = PngInfo()
    info.add_text("workflow", "x" * 2_000_000, zip=True)
    assert np.array_equal(read(encoded("PNG", pnginfo=info)), PIXELS)
    palette, file = Image.fromarray(PIXELS).quantize(16), io.BytesIO()
    palette.save(file, "PNG", pnginfo=info, transparency=3)
    assert np.array_equal(read(file.getvalue()), np.array(palette.convert("RGB")))
