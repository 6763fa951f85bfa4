"""What an export says: the card's numbers are those that were measured, and nothing is told that should not be."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from example_bundle import bundle_config
from PIL import Image

from narl.cli.main import main
from narl.config.bundle import BundleConfig
from narl.core.errors import ConfigError
from narl.evaluation.report import SeedReport, Summary
from narl.export.bundle import load_bundle, verify_bundle, write_bundle
from narl.methods.catalogue import halves_of
from narl.models.standardise import Standardised
from narl.report.card import add_card

# Where the images lie, and words that are in no file of a bundle by chance.
HOME = "/srv/ann-secrets"
PRIVATE, GATHERED = ("zorro", "quark"), ("plinthic", "mauvely", "grobble", "tweedle")
PIPELINE = {
    "name": "faces",
    "source": {"kind": "table", "csv": f"{HOME}/faces.csv"},
    "utility": {"name": "parity", "column": "odd", "map": {"even": GATHERED[:2], "odd": GATHERED[2:]}},
    "private": {"name": "age", "column": "age", "map": {PRIVATE[0]: ["old*"], PRIVATE[1]: ["young*"]}},
    "image": {"size": 16},
    "beton": {"store": f"{HOME}/betons"},
}
TRIAL = {"arch": "mobilenet_v3_small", "split": 2, "sigma": 0.7, "lambda": 0.01}
DOUBTS = (
    f"2 of 60 images are copies of others, the first in train ({HOME}/faces.csv, line 3) and test ({HOME}/zorro_1.png)",
    "only 3 images of zorro",
)


def example_summary(**changes) -> Summary:
    cost = {"client_gflops": 0.25, "client_memory_mib": 1.5, "uplink_kib": 2, "peak_activation_mib": 3}
    seed = SeedReport(
        **{"utility": 90, "leakage": 40, "delta": 50, "delta_paper": 51, "strongest_adversary": 39},
        **{"label_floor": 35, "advantage": 5, "adversaries": {"bayes": 39}, "paper_adversary": "rest"},
        **{"feature_rms": 1, "snr_db": 2, "num_samples": 100, "doubts": DOUBTS, "train_seconds": 1},
        **{"attack_seconds": 1, "cost": cost, "tags": {}, "leakage_bound": 45, "utility_chance": 50},
        private_chance=30,
    )
    counts = {"train": 70, "validation": 10, "test": 20}
    return Summary(
        **{"reported_on": "test", "num_samples": 100, "seeds": (0,), "client": "", "mean": {"delta": 50}},
        **{"interval95": {}, "label_floor": 35, "snr_db": 2, "cost": cost, "doubts": DOUBTS},
        by_seed={0: seed.model_copy(update=changes)},
        classes={"utility": {"even": counts, "odd": counts}, "private": dict.fromkeys(PRIVATE, counts)},
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A bundle with untrained weights, as `narl train` writes one."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    config = bundle_config(TRIAL, size=16, pipeline=PIPELINE)
    halves = halves_of(config.trial, 16)
    server = Standardised(halves.rest(num_outputs=1, seed=1), halves.feature_shape[0])
    states = {"client_state": halves.client(seed=0).state_dict(), "server_state": server.state_dict()}
    write_bundle(folder, **states, config=config, metrics=example_summary().to_json())
    return folder


@pytest.fixture(scope="module")
def exported(trained):
    assert main(["export", "--from", str(trained), "--to", str(trained.parent / "out")]) == 0
    return trained.parent / "out"


@pytest.fixture(scope="module")
def redacted(trained):
    assert main(["export", "--from", str(trained), "--to", str(trained.parent / "redacted"), "--redact"]) == 0
    return trained.parent / "redacted"


# Where tests and narl itself lie, and whoever runs them.
MACHINE = (Path.home(), tempfile.gettempdir(), Path(__file__).parents[2])


def said(folder: Path, *words: str) -> set[tuple[str, str]]:
    """Which of the words are in which file, in upper or lower case."""
    files = {path.name: path.read_bytes().lower() for path in folder.rglob("*") if path.is_file()}
    return {(name, word) for name, content in files.items() for word in words if word.lower().encode() in content}


def test_no_file_tells_where_it_was_made(trained, exported, redacted):
    places = (HOME, "ann-secrets", str(trained), *(f"{folder}/" for folder in MACHINE))
    assert said(trained, HOME)
    for folder in (exported, redacted):
        assert not said(folder, *places)
        assert verify_bundle(folder)["files"].keys() >= {"MODEL_CARD.md", "README.md", "client.onnx"}


def test_a_redacted_export_names_no_class_but_what_the_server_answers(exported, redacted):
    hidden = (*PRIVATE, *GATHERED, "young*", "old*")
    assert {word for _, word in said(exported, *hidden)} == set(hidden)
    assert not said(redacted, *hidden)
    assert load_bundle(redacted).config.utility_classes == ("even", "odd")
    doubts = json.loads((redacted / "metrics.json").read_text())["doubts"]
    assert doubts == [
        "2 of 60 images are copies of others, the first in train (…, line 3) and test (…)",
        "only 3 images of …",
    ]
    assert "classes of “age” are not named" in (redacted / "MODEL_CARD.md").read_text()


def test_folders_of_files_that_doubts_name_are_left_out(exported):
    first, _ = json.loads((exported / "metrics.json").read_text())["doubts"]
    assert first.endswith("train (…/faces.csv, line 3) and test (…/zorro_1.png)")


def test_what_was_left_out_is_all_that_changed_and_can_be_given_again(trained, exported, redacted):
    before, after = load_bundle(trained).config, load_bundle(exported).config
    left_out = before.pipeline.model_copy(update={"beton": after.pipeline.beton})
    assert after.with_images_at(f"{HOME}/faces.csv").pipeline == left_out
    assert before.with_images_at(None) == before
    with pytest.raises(ConfigError, match="does not say where its images lie: name the CSV file with `data`"):
        after.with_images_at(None)
    with pytest.raises(ConfigError, match="redacted: it does not say which classes its labels gather"):
        load_bundle(redacted).config.with_images_at(f"{HOME}/faces.csv")
    with pytest.raises(ConfigError, match="images of digits come with it"):
        bundle_config(TRIAL).with_images_at("x")
    with pytest.raises(ConfigError, match="kind of store 'ftp://'"):
        after.with_images_at("ftp://x/y")


def test_commands_that_need_images_ask_where_they_are(exported, redacted, capsys, tmp_path):
    for argv in (
        ["verify", str(exported)],
        ["evaluate", str(exported), "--out", str(tmp_path / "e")],
        ["export", "--from", str(exported), "--to", str(tmp_path / "o"), "--variants", "int8"],
    ):
        assert main(argv) == 2
        out, err = capsys.readouterr()
        assert out == "" and "name the CSV file with --data" in err
    assert main(["verify", str(redacted), "--data", "x"]) == 2
    assert "this export is redacted" in capsys.readouterr().err
    assert main(["export", "--from", str(exported), "--to", str(tmp_path / "o"), "--data", "x"]) == 2
    assert "--data is for --variants" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["exported", "redacted"])
def test_an_export_of_an_export_is_the_same(folder, request, tmp_path):
    first = request.getfixturevalue(folder)
    assert main(["export", "--from", str(first), "--to", str(tmp_path / "again")]) == 0
    assert verify_bundle(tmp_path / "again") == verify_bundle(first)


def test_the_card_has_the_numbers_that_were_measured(exported):
    card = (exported / "MODEL_CARD.md").read_text()
    for words in (
        "| the service reads “parity” | 90.0 ± 6.0 % |",
        "| the strongest attacker tried reads “age” | ≥ 40.0 ± 9.4 % |",
        "(label floor) | 35.0 % |",
        "| ≤ 50.0 points |",
        "Δ of a client that sends nothing | 20.0 points |",
        "reads more than 45.0 % of these images: that is proven",
        "let a device answer once about a picture",
        "| zorro | 70 | 10 | 20 |",
        "| **all images** | **140** | **20** | **40** |",
        "| σ of the noise | 0.7 in training |",
        "0.25 GFLOPs an image",
        "Of this client: only 3 images of zorro.",
    ):
        assert words in card, words
    assert "no better than" not in card


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"utility": 50, "delta": 10}, "no better than one that sends nothing:** utility is a guess"),
        ({"leakage_bound": None}, "There is no proven limit: no formula was among the attackers."),
        ({"leakage_bound": 100}, "nobody reads more (see the certificate) | no limit |"),
        ({"doubts": ()}, "attacker tried reads “age” | 40.0 ± 9.4 % |"),
        ({"snr_db": None}, "adds no random noise: all answers to one picture are the same"),
        ({"doubts": ("| a [link](x) | `b`\n# head",)}, r"Of this client: \| a \[link\](x) \| \`b\`\\n# head."),
        (None, "**What was measured of this client was not recorded**"),
    ],
)
def test_the_card_of_other_findings(trained, tmp_path, changes, words):
    config = load_bundle(trained).config
    metrics = {} if changes is None else example_summary(**changes).to_json()
    write_bundle(tmp_path / "b", client_state={}, server_state={}, config=config, metrics=metrics)
    add_card(tmp_path / "b")
    assert verify_bundle(tmp_path / "b")["files"]["MODEL_CARD.md"]
    assert words in (tmp_path / "b" / "MODEL_CARD.md").read_text()


def test_the_readmes_lines_run(exported, tmp_path):
    """The three for the device and the three for the server, one after the other."""
    blocks = re.findall(r"(?:^    .+\n)+", (exported / "README.md").read_text(), re.MULTILINE)
    install, device, server = (re.sub("^    ", "", block, flags=re.MULTILINE) for block in blocks)
    assert install.startswith("pip install") and len(device.splitlines()) == len(server.splitlines()) == 3
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.jpg")
    code = f"import sys; sys.path.insert(0, {str(exported)!r})\n{device}{server}"
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{'even': ") and "'odd': " in done.stdout


def test_only_what_is_redacted_says_so(trained):
    content = yaml.safe_load((trained / "config.yaml").read_text())
    assert "redacted" not in content
    assert BundleConfig.model_validate({**content, "redacted": True}).redacted
