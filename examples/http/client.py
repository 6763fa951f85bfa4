"""An exported client that asks its server over HTTP: numpy and ONNX Runtime, no torch and no narl.

python examples/http/client.py BUNDLE http://127.0.0.1:8000 digits.npz      # or pictures, which need Pillow

The image stays here. What leaves is `client.answer(image)`: features with noise, other noise each time.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

AT_ONCE = 64  # images in a request


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask a server for the useful label of images that it does not see.")
    parser.add_argument("bundle", type=Path, help="a folder that narl export wrote")
    parser.add_argument("url", help="what the server printed")
    parser.add_argument("images", nargs="+", type=Path, help="pictures, or one .npz with images and labels")
    args = parser.parse_args()
    try:
        for line in answers(args.bundle, args.url, args.images):
            print(line)
    except (ImportError, OSError, LookupError, ValueError, BadZipFile) as error:  # no bundle, or none of its images
        parser.error(str(error))


def answers(bundle: Path, url: str, paths: list[Path]) -> Iterator[str]:
    """Tell what the server reads in each picture; of labelled images, how often it is right."""
    sys.path.insert(0, str(bundle.resolve()))
    from narl_client import Bundle, Client

    client, identity = Client(bundle), Bundle(bundle).sha256("server.onnx")
    labels = None
    if paths[0].suffix == ".npz":
        with np.load(paths[0], allow_pickle=False) as file:
            images, labels = file["images"], file["labels"]
    else:
        images = np.stack([client.read(path) for path in paths])
    right = 0
    for start in range(0, len(images), AT_ONCE):
        told = ask(url, client.answer(images[start : start + AT_ONCE]), identity)
        for number, probabilities in enumerate(told["probabilities"], start):
            answer = int(np.argmax(probabilities))
            if labels is None:
                yield f"{paths[number]}: {told['classes'][answer]}, {100 * probabilities[answer]:.0f} % sure"
            else:
                right += answer == labels[number]
    if labels is not None:
        yield f"{right} of {len(images)} right, {100 * right / len(images):.2f} %"


def ask(url: str, sent: np.ndarray, identity: str) -> dict:
    """Send float32 [B, C, h, w]; returns `classes`, and `probabilities` [B, K]."""
    headers = {
        "Content-Type": "application/octet-stream",
        "X-Bundle": identity,
        "X-Dtype": "float32",
        "X-Images": str(len(sent)),
        "X-Shape": ",".join(map(str, sent.shape[1:])),
    }
    request = urllib.request.Request(f"{url}/probabilities", sent.astype("<f4").tobytes(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refusal:
        raise SystemExit(f"the server refuses: {refusal.read(500).decode(errors='replace')}") from None
    except urllib.error.URLError as failure:
        raise SystemExit(f"{url} does not answer: {failure.reason}") from None


if __name__ == "__main__":
    main()
