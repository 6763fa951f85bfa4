"""examples/http as two processes that have neither torch nor narl: digits are classified end to end, and nonsense refused."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from bare_python import bare_packages

import narl
from narl.config.trial import TrainConfig
from narl.export.portable import make_portable

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A client that was trained for a few seconds, exported."""
    place = tmp_path_factory.mktemp("over_http")
    config = TrainConfig(
        pipeline=narl.Pipeline.load(ROOT / "pipelines" / "digits.yaml"),
        trial={"arch": "mobilenet_v3_small", "split": 3, "sigma": 1.0, "lambda": 0.01, "seed": 0},
        training={"epochs": 3, "batch_size": 64},
        attack={"max_epochs": 4, "min_epochs": 3, "patience": 2, "clean_epochs": 0, "adversaries": ["bayes"]},
    )
    narl.train(config, out=place / "model")
    make_portable(place / "model", place / "client")
    return place / "client"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    subprocess.run([sys.executable, str(EXAMPLES / "digits.py"), str(path)], check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """What is typed before a script, and its environment: a Python with numpy and onnxruntime alone."""
    packages = bare_packages(tmp_path_factory.mktemp("packages"))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"}
    python = [sys.executable, "-S"]
    for name in ("torch", "narl", "PIL"):
        done = subprocess.run([*python, "-c", f"import {name}"], env=environment, capture_output=True, cwd=packages)
        assert done.returncode != 0, f"{name} is here"
    return python, environment, packages


@pytest.fixture(scope="module")
def url(bundle, device):
    """The address of a server that runs."""
    python, environment, folder = device
    command = [*python, str(EXAMPLES / "http" / "server.py"), str(bundle), "--port", "0"]
    process = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    threading.Thread(target=process.stderr.read, daemon=True).start()  # so that it never waits for a reader
    address = process.stdout.readline().decode().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
    yield address
    process.kill()
    process.wait()


def ask(device, *arguments) -> subprocess.CompletedProcess[str]:
    python, environment, folder = device
    command = [*python, str(EXAMPLES / "http" / "client.py"), *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)


def test_digits_are_classified_as_by_torch(bundle, digits, device, url):
    """Of N images with noise drawn twice, the two accuracies differ by their standard errors at most, five of them."""
    done = ask(device, bundle, url, digits)
    assert done.returncode == 0, done.stderr
    right, count = map(int, re.match(r"(\d+) of (\d+) right", done.stdout).groups())
    with np.load(digits) as file:
        images, labels = file["images"], file["labels"]
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    generator = torch.Generator().manual_seed(0)
    by_torch = narl.load_bundle(bundle).query(pixels, generator=generator).argmax(1).numpy() == labels
    share = by_torch.mean()
    assert count == len(labels) == 450 and share > 0.7
    assert abs(right / count - share) <= 5 * np.sqrt(2 * share * (1 - share) / count)


@pytest.fixture
def request_of(bundle, url):
    """Send one image's zeros as a client would, with some headers or the content changed; returns status and answer."""
    facts = json.loads((bundle / "portable.json").read_text())
    shape = facts["feature_shape"]
    digest = json.loads((bundle / "manifest.json").read_text())["files"]["server.onnx"]["sha256"]

    def send(content=None, *, method="POST", path="/probabilities", **changes):
        content = bytes(4 * int(np.prod(shape))) if content is None else content
        headers = {"X-Bundle": digest, "X-Dtype": "float32", "X-Images": "1", "X-Shape": ",".join(map(str, shape))}
        headers |= {"Content-Length": str(len(content))}
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        connection.putrequest(method, path)
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(content)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    return send


def test_one_image_gets_probabilities(request_of):
    status, told = request_of()
    assert status == 200 and json.loads(told)["classes"] == ["even", "odd"]
    assert sum(json.loads(told)["probabilities"][0]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"path": "/"}, 404, "nothing else"),
        ({"X_Bundle": "0" * 64}, 409, "another bundle"),
        ({"X_Dtype": "object"}, 415, "float32"),
        ({"X_Images": "65"}, 413, "1 to 64"),
        ({"X_Images": "-1"}, 413, "1 to 64"),
        ({"X_Images": None}, 413, "1 to 64"),
        ({"X_Shape": "1,2,3"}, 400, "X-Shape must be"),
        ({"X_Images": "2"}, 400, "that of 2 images"),
        ({"Content_Length": None}, 400, "Content-Length must be"),
        ({"Content_Length": "99999999999"}, 400, "Content-Length must be"),
        ({"Content_Length": "many"}, 400, "Content-Length must be"),
        ({"method": "GET"}, 501, "GET"),
    ],
)
def test_what_is_no_answer_of_the_client_is_refused_and_the_next_request_answered(request_of, changes, status, words):
    found, told = request_of(**changes)
    assert found == status and words in told and "Traceback" not in told
    assert request_of()[0] == 200


def test_numbers_that_are_none_are_refused(bundle, request_of):
    shape = json.loads((bundle / "portable.json").read_text())["feature_shape"]
    for value in (np.nan, np.inf):
        status, told = request_of(np.full(shape, value, "<f4").tobytes())
        assert status == 400 and "finite" in told


def test_what_is_no_bundle_and_no_image_is_refused_in_words(bundle, device, url, tmp_path):
    python, environment, folder = device
    server = [*python, str(EXAMPLES / "http" / "server.py")]
    port = url.rpartition(":")[2]
    (tmp_path / "digits.npz").write_bytes(b"PK none")
    for command in (
        [*server, str(tmp_path)],
        [*server, str(bundle), "--port", port],
        [*server, str(bundle), "--port", "70000"],
    ):
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 2 and "cannot be served" in done.stderr and "Traceback" not in done.stderr
    for images in (tmp_path / "digits.npz", tmp_path / "absent.npz", bundle / "client.onnx"):
        done = ask(device, bundle, url, images)
        assert done.returncode == 2 and "error: " in done.stderr and "Traceback" not in done.stderr


def test_a_client_says_who_refuses_and_who_does_not_answer(bundle, digits, device, url):
    silent = ask(device, bundle, "http://127.0.0.1:9", digits)
    assert silent.returncode == 1 and "does not answer" in silent.stderr and "Traceback" not in silent.stderr
    lost = ask(device, bundle, f"{url}/elsewhere", digits)
    assert lost.returncode == 1 and "refuses" in lost.stderr and "Traceback" not in lost.stderr
