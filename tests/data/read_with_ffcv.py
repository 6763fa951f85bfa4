"""FFCV's own loader reads files' images and private labels: `python read_with_ffcv.py [FILE.beton OUT.npz]...`.

A process of its own, as that loader marks numba's `uint8[::1]` as read-only wherever it is kept, and whatever else the
process compiles later may then not write to its own arrays.
"""

import sys

import numpy as np
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption

pipelines = {"image": [SimpleRGBImageDecoder()], "private": [IntDecoder()], "utility": None, "index": None}
for file, out in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    loader = Loader(
        file, batch_size=99, num_workers=1, order=OrderOption.SEQUENTIAL, drop_last=False, pipelines=pipelines,
        os_cache=True, seed=0,
    )  # fmt: skip
    (batch,) = loader
    np.savez(out, images=batch[0], private=batch[1][:, 0])
