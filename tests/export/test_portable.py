"""The graphs compute what torch does, at any batch, and run where there is neither torch nor narl."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from bare_python import bare_packages
from example_bundle import bundle_config

from narl.core.errors import NarlError
from narl.core.method_options import METHODS
from narl.core.point import Point
from narl.export.bundle import FILES, PORTABLE, load_bundle, verify_bundle, write_bundle
from narl.export.graphs import graph_of
from narl.export.portable import client_function, make_portable
from narl.export.runtime.narl_client import BundleError, Client
from narl.methods.catalogue import halves_of
from narl.models.standardise import Standardised
from narl.models.zoo import ZOO, architecture

SIZE = 32
NARL = {"arch": "mobilenet_v3_small", "split": 3, "sigma": 0.5, "lambda": 0.01}
KEY = bytes(range(32))


def write(folder: Path, trial: dict) -> Path:
    """A bundle with untrained weights."""
    config = bundle_config(trial, size=SIZE)
    halves = halves_of(config.trial, SIZE)
    client = halves.client(seed=0)
    server = Standardised(halves.rest(num_outputs=1, seed=1), halves.feature_shape[0])
    states = {"client_state": client.state_dict(), "server_state": server.state_dict()}
    write_bundle(folder, **states, config=config, metrics={})
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write(tmp_path_factory.mktemp("trained") / "bundle", NARL)


@pytest.fixture(scope="module")
def portable(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("portable") / "bundle"
    make_portable(source, folder)
    return folder


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keyed")
    make_portable(write(folder / "trained", NARL | {"noise": "keyed"}), folder / "bundle")
    return folder / "bundle"


def pictures(count: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def as_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def test_every_file_is_listed_and_the_weights_are_those_of_the_source(source, portable):
    manifest, before = verify_bundle(portable), verify_bundle(source)
    assert sorted(manifest["files"]) == sorted([*FILES, *PORTABLE])
    assert {name: manifest["files"][name] for name in FILES} == before["files"]
    assert {path.name for path in portable.iterdir()} - {"__pycache__"} == {*FILES, *PORTABLE, "manifest.json"}


def test_a_portable_bundle_is_a_bundle_and_can_be_exported_again(portable, tmp_path):
    assert load_bundle(portable).config.image_size == SIZE
    assert make_portable(portable, tmp_path / "again") == verify_bundle(portable)  # to the last bit


def test_nothing_tells_who_wrote_it_or_where(portable):
    for name in PORTABLE:
        content = (portable / name).read_bytes()
        for word in (b"/home", b"/work", b"/tmp", b"site-packages", b"torch/nn", str(Path.home()).encode() + b"/"):
            assert word not in content, (name, word)


@pytest.mark.parametrize("count", [1, 7, 65])
def test_clean_features_are_torchs_for_any_number_of_images(portable, count):
    images = pictures(count)
    with torch.no_grad():
        expected = load_bundle(portable).client.features(as_tensor(images)).numpy()
    np.testing.assert_allclose(Client(portable).features(images), expected, rtol=1e-4, atol=1e-5)


def test_answers_have_the_claimed_noise_and_never_repeat(portable):
    client, images = Client(portable), pictures(1).repeat(200, 0)
    noise = client.answer(images) - client.features(images)
    count = noise.size
    assert abs(noise.std() / 0.5 - 1) < 5 / np.sqrt(2 * count)
    assert abs(noise.mean()) < 5 * 0.5 / np.sqrt(count)
    assert len(np.unique(noise.reshape(200, -1), axis=0)) == 200


def test_keyed_answers_are_kept_by_key_image_and_client(keyed, portable):
    images = pictures(2)
    one, two = Client(keyed, noise_key=KEY), Client(keyed, noise_key=KEY)
    assert np.array_equal(one.answer(images), two.answer(images))
    assert np.array_equal(one.answer(images[1]), one.answer(images)[1:])
    assert np.array_equal(one.answer(images), one.answer(images.astype(np.float32) / 255))
    noise = one.answer(images) - one.features(images)
    assert not np.isclose(noise[0], noise[1]).any()
    other = Client(keyed, noise_key=KEY[::-1])
    assert not np.isclose(other.answer(images), one.answer(images)).any()
    assert np.array_equal(Client(keyed).answer(images), Client(keyed).answer(images))  # of one process
    with pytest.raises(BundleError, match="takes no key"):
        Client(portable, noise_key=KEY)


@pytest.mark.parametrize("name", ["client.onnx", "portable.json"])
def test_a_changed_or_missing_file_is_refused_by_the_runtime(portable, tmp_path, name):
    for path in portable.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name} is not the file that was exported"):
        Client(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BundleError, match=f"{name} cannot be read"):
        Client(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(BundleError, match=r"no readable manifest\.json"):
        Client(tmp_path)


def test_a_client_that_no_graph_can_hold_is_refused_in_one_line():
    class Branching(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(NarlError, match="Branching cannot be written as an ONNX graph") as caught:
        graph_of(Branching(), {"x": torch.ones(2, 3)}, "y")
    assert "\n" not in str(caught.value)


def point_of(method: str, arch: str, split: int) -> Point:
    options = METHODS[method]
    trial = {"method": method, "arch": arch}
    trial |= {"split": split} if options.uses_split else {}
    trial |= {"sigma": 0.5} if options.uses_sigma else {}
    trial |= {"lambda": 0.01} if options.uses_lambda else {}
    return Point.from_json(trial)


def check_graph(network: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> None:
    session = onnxruntime.InferenceSession(graph_of(network, inputs, "out"))
    for count in (1, 4):
        given = {name: value[:count] for name, value in inputs.items()}
        with torch.no_grad():
            wanted = network(*given.values())
        (found,) = session.run(None, {name: value.numpy() for name, value in given.items()})
        torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_client_of_every_method_is_exported(method):
    halves = halves_of(point_of(method, "mobilenet_v3_small", 2), SIZE)
    network, inputs, noise = client_function(halves.client(seed=0).eval(), SIZE)
    assert ("draws" in inputs) == (noise.kind != "none")
    check_graph(network, inputs)


def test_the_lines_for_another_runtime_make_a_program_of_the_same_client(portable, tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
    lines = text.partition("## Another runtime")[2].partition("```python\n")[2].partition("```")[0]
    (tmp_path / "client").symlink_to(portable)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(lines, names)
    session = onnxruntime.InferenceSession(portable / "client.onnx")
    for count in (1, 4):
        given = {name: value[:count] for name, value in names["inputs"].items()}
        (wanted,) = session.run(None, {name: value.numpy() for name, value in given.items()})
        found = names["program"].module()(*given.values())
        torch.testing.assert_close(found, torch.from_numpy(wanted), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bound", ["sigmoid", "l2-clip"])
def test_bounded_features_are_exported(bound):
    point = Point.from_json(NARL | {"bound": bound, "split": 1})
    check_graph(halves_of(point, SIZE).client(seed=0).eval().body, {"image": torch.rand(6, 3, SIZE, SIZE)})


@pytest.mark.slow
@pytest.mark.parametrize("arch", ZOO)
def test_both_halves_of_every_architecture_are_exported(arch):
    size = max(SIZE, architecture(arch).min_size)
    split = min(4, architecture(arch).split_points[-1])
    halves = halves_of(point_of("narl", arch, split), size)
    check_graph(halves.client(seed=0).eval().body, {"image": torch.rand(6, 3, size, size)})
    check_graph(halves.rest(num_outputs=3, seed=0).eval(), {"sent": torch.randn(6, *halves.feature_shape)})


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A folder of packages that holds numpy, onnxruntime and what they need, and nothing else."""
    return bare_packages(tmp_path_factory.mktemp("packages"))


IN_THE_FIELD = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import numpy as np
from narl_client import Client
from narl_server import Server
for name in ("torch", "narl", "onnx", "PIL", "scipy"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(f"{name} is here")
client, server = Client(), Server()
images = np.load(sys.argv[2])
sent = client.answer(images)
print(json.dumps({
    "classes": server.classes,
    "clean": server.probabilities(client.features(images)).tolist(),
    "noisy": server.probabilities(sent).tolist(),
    "read": server.probabilities(sent)[0].tolist(),
    "sent": sent[:1].tolist(),
}))
"""


def test_both_halves_run_without_torch_and_narl(portable, bare, tmp_path):
    """Digits are classified as by torch in a Python that has numpy and onnxruntime alone."""
    from narl.config.pipeline import Pipeline
    from narl.data.dataset import open_dataset

    pipeline = Pipeline.model_validate(load_bundle(portable).config.pipeline.model_dump() | {"loader": "tensor"})
    batch = next(iter(open_dataset(pipeline, splits=("test",)).loader("test", batch_size=8).epoch(0)))
    digits = batch.images.permute(0, 2, 3, 1).numpy()
    np.save(tmp_path / "digits.npy", digits)
    found = [json.dumps([str(portable), str(bare)]), str(tmp_path / "digits.npy")]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", IN_THE_FIELD, *found], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["classes"] == ["even", "odd"]
    bundle = load_bundle(portable)
    with torch.no_grad():
        odd = bundle.server(bundle.client.features(as_tensor(digits))).sigmoid()[:, 0].double()
        sent = bundle.server(torch.tensor(said["sent"])).sigmoid()[0, 0].item()
    np.testing.assert_allclose(np.array(said["clean"])[:, 1], odd.numpy(), rtol=1e-4, atol=1e-5)
    assert said["read"][1] == pytest.approx(sent, rel=1e-4)
    assert said["noisy"] != said["clean"]
