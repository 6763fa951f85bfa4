from __future__ import annotations

import argparse
import json
import subprocess
import sys

import pytest

from narl.cli.profile import register
from narl.core.errors import ConfigError
from narl.models.zoo import ZOO

KEYS = [
    "arch", "split", "size", "client_gflops", "client_memory_mib", "uplink_kib", "peak_activation_mib", "feature_shape"
]  # fmt: skip


def narl_profile(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    args = parser.parse_args(["profile", *arguments])
    return args.run(args)


def test_json_has_exactly_the_promised_keys_for_every_split_of_the_zoo(capsys):
    assert narl_profile("--format", "json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["arch"], row["split"]) for row in rows] == [(a, k) for a in ZOO for k in ZOO[a].split_points]
    assert all(list(row) == KEYS for row in rows)
    assert {row["size"] for row in rows} == {178}


def test_one_row_by_hand(capsys):
    narl_profile("--arch", "resnet18", "--split", "4", "--dtype", "int8", "--format", "json")
    (row,) = json.loads(capsys.readouterr().out)
    assert row["feature_shape"] == [512, 6, 6]
    assert row["uplink_kib"] == 18.0
    assert (round(row["client_gflops"], 2), round(row["client_memory_mib"], 2)) == (2.52, 42.67)


def test_other_methods_have_clients_of_their_own(capsys):
    narl_profile("--arch", "resnet18", "--method", "disco", "--format", "json")
    rows = json.loads(capsys.readouterr().out)
    assert [row["split"] for row in rows] == [1, 2, 3, 4]
    assert (round(rows[3]["client_gflops"], 2), round(rows[3]["client_memory_mib"], 2)) == (2.52, 42.80)  # Table 2
    narl_profile("--arch", "resnet18", "--method", "image_noise", "--format", "json")
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["split"], row["client_gflops"], row["feature_shape"]) == (0, 0, [3, 178, 178])


def test_table_shows_every_figure_in_full_and_says_that_noise_is_free(capsys):
    assert narl_profile("--arch", "resnet18", "vgg11_bn", "--split", "1") == 0
    out = capsys.readouterr().out
    for figure in ("0.7534", "0.60", "506.2", "4.23", "64x45x45", "64x178x178", "vgg11_bn"):
        assert figure in out
    assert "noise costs 0" in " ".join(out.split())
    assert "…" not in out


def test_networks_too_large_for_the_images_are_left_out_of_the_zoo_with_a_note(capsys):
    assert narl_profile("--size", "32", "--split", "1", "--format", "json") == 0
    shown = capsys.readouterr()
    assert {row["arch"] for row in json.loads(shown.out)} == set(ZOO) - {"alexnet"}
    assert "alexnet cannot take 32x32 images" in shown.err


def test_of_several_splits_each_network_shows_those_it_has(capsys):
    narl_profile("--split", "4", "16", "--format", "json")
    shown = {(row["arch"], row["split"]) for row in json.loads(capsys.readouterr().out)}
    assert shown == {(arch, 4) for arch in ZOO} | {("mobilenet_v2", 16)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arch", "alexnet", "--size", "32"], "63x63"),
        (["--arch", "resnt18"], "did you mean 'resnet18'"),
        (["--arch", "resnet18", "--split", "9"], "allowed are 1 to 4"),
        (["--split", "99"], "no network fits"),
        (["--dtype", "int9"], "did you mean 'int8'"),
        (["--method", "disc"], "did you mean 'disco'"),
        (["--method", "image_noise", "--split", "1"], "no split points"),
    ],
)
def test_what_is_asked_for_by_name_must_be_legal(arguments, message, capsys):
    with pytest.raises(ConfigError, match=message):
        narl_profile(*arguments)
    assert capsys.readouterr().out == ""


def test_registering_imports_nothing_heavy():
    code = (
        "import sys, argparse, narl.cli.profile as p; p.register(argparse.ArgumentParser().add_subparsers());"
        "sys.exit(any(m in sys.modules for m in ('torch', 'torchvision', 'rich')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
