"""A bundle that narl 0.2.0 wrote is read, and answers what it answered then.

Its weights repeat a short pattern, so that six MB pack into a few kB.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from narl.export.bundle import load_bundle, verify_bundle
from narl.export.portable import make_portable
from narl.export.runtime.narl_client import Client
from narl.export.runtime.narl_server import Server

GOLDEN = Path(__file__).parent / "released_0_2" / "golden" / "bundle.tar.xz"
# Of 0.2.0, for the images below, without noise.
FEATURES_MEAN, FEATURES_STD = 0.062148839235305786, 0.26206088066101074
LOGITS = [-0.009561534970998764, 0.025294724851846695, 0.013836377300322056, -0.0007236761739477515]


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    shutil.unpack_archive(GOLDEN, folder)
    return folder / "bundle"


def test_manifest_is_read_and_every_file_is_what_it_says(released):
    manifest = verify_bundle(released)
    assert manifest["narl_version"] == "0.2.0" and manifest["format_version"] == 1


def test_client_and_server_answer_as_in_0_2(released):
    bundle = load_bundle(released)
    assert (bundle.config.trial.arch, bundle.config.trial.split, bundle.config.trial.sigma) == (
        "mobilenet_v3_small",
        3,
        2.0,
    )
    assert bundle.config.utility_classes == ("even", "odd")
    images = (torch.arange(4 * 3 * 32 * 32) ** 2 // 7 % 256).view(4, 3, 32, 32) / 255
    with torch.no_grad():
        features = bundle.client.features(images)
        logits = bundle.server(features).flatten()
    assert features.shape == (4, 24, 4, 4)
    assert features.mean().item() == pytest.approx(FEATURES_MEAN, rel=1e-4)
    assert features.std().item() == pytest.approx(FEATURES_STD, rel=1e-4)
    torch.testing.assert_close(logits, torch.tensor(LOGITS), rtol=1e-3, atol=1e-5)
    probabilities = bundle.query(images, generator=torch.Generator().manual_seed(0))
    assert probabilities.shape == (4, 2) and torch.allclose(probabilities.sum(1), torch.ones(4))


def test_it_can_be_exported_for_any_device(released, tmp_path):
    manifest = make_portable(released, tmp_path / "portable")
    assert manifest["narl_version"] == "0.2.0" and manifest["format_version"] == 1
    images = (torch.arange(4 * 3 * 32 * 32) ** 2 // 7 % 256).view(4, 3, 32, 32) / 255
    features = Client(tmp_path / "portable").features(images.permute(0, 2, 3, 1).numpy())
    assert features.mean() == pytest.approx(FEATURES_MEAN, rel=1e-4)
    odd = Server(tmp_path / "portable").probabilities(features)[:, 1]
    torch.testing.assert_close(torch.from_numpy(odd).logit().float(), torch.tensor(LOGITS), rtol=1e-3, atol=1e-5)
