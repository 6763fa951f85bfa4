"""Passwords planted in every option and variable that takes an address: no command tells one, whether it fails or not."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from urllib.parse import quote

import mlflow
import pytest
from example_bundle import bundle_config
from example_pipelines import DIGITS
from example_records import make_record

from narl.cli.main import main
from narl.config.load import build
from narl.config.search_space import SearchSpace
from narl.export import portable
from narl.export.bundle import write_bundle
from narl.methods.catalogue import halves_of
from narl.models.standardise import Standardised
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger

SPACE = {"name": "tiny", "pipeline": DIGITS, "architectures": {"resnet18": {}}, "sigma": 1, "lambda": 0.01}
# Plain, as people type them, and as addresses want them; each with the words that must not be seen.
PASSWORDS = {
    "swordfish": ["swordfish"],
    "sword fish": ["sword", "fish"],
    "sword'fish\"": ["sword", "fish"],
    "sword/fi#sh@mack:ereel?": ["sword", "mack", "ereel"],
    "sword%20fish%27": ["sword", "fish"],
}
SEARCH, RUN = ["search", "space.yaml"], "0" * 32
OPTIONS = [
    [*SEARCH, "--study", "oracle://ann:{}@127.0.0.1:1/db"],
    [*SEARCH, "--study", "postgresql://127.0.0.1:1/db?user=ann&password={}"],
    [*SEARCH, "--study", "postgresql:ann:{}@127.0.0.1/db"],
    [*SEARCH, "--study=nonsense ann:{}@127.0.0.1/db"],
    [*SEARCH, "--studdy=postgresql://ann:{}@127.0.0.1/db"],
    [*SEARCH, "--ray-address", "ann:{}@127.0.0.1:1"],
    [*SEARCH, "--ray-address", "ray://ann:{}@127.0.0.1:1"],
    [*SEARCH, "--runs", "s3://ann:{}@bucket/runs"],
    [*SEARCH, "--storage", "s3://ann:{}@bucket/runs"],
    [*SEARCH, "--storage", "s3://bucket/runs?endpoint_override=http://ann:{}@127.0.0.1:1"],
    [*SEARCH, "--storage", "s3://bucket/runs?secret_key={}"],
    [*SEARCH, "--storage", "ftp://ann:{}@127.0.0.1/x"],
    *(
        [*command, "--runs", address]
        for command in (["pareto"], ["best-config"], ["sync"], ["evaluate", "tiny/0"], ["export", "--to", "out"])
        for address in ("s3://ann:{}@bucket/runs", "s3://bucket/runs?endpoint_override=http://ann:{}@127.0.0.1:1")
    ),
    ["export", "--from", "bundle", "--to", "s3://ann:{}@bucket/x"],
    ["export", "--from", "bundle", "--to", "http://ann:{}@bucket/x"],
    ["export", "--from", "bundle", "--to", "out", "--endpoint-url", "http://ann:{}@127.0.0.1:1"],
    ["export", "--from", "bundle", "--to", "s3://bucket/x", "--endpoint-url", "http://ann:{}@127.0.0.1:1"],
    ["export", "--from", "bundle", "--to", "s3://bucket/x", "--endpoint-url", "ann:{}@127.0.0.1:1"],
    ["import", "s3://ann:{}@bucket/x", "--to", "in"],
    ["import", "http://ann:{}@bucket/x", "--to", "in"],
    ["import", "s3://bucket/x", "--to", "in", "--endpoint-url", "http://ann:{}@127.0.0.1:1"],
    ["data", "build", "pipeline.yaml", "--to", "s3://ann:{}@bucket/x"],
    ["evaluate", "http://ann:{}@127.0.0.1/run"],
    ["search", "http://ann:{}@127.0.0.1/space.yaml"],
    ["train", "http://ann:{}@127.0.0.1/config.yaml"],
    ["compare", "--pipeline", "http://ann:{}@127.0.0.1/p.yaml"],
]
VARIABLES = [
    ("NARL_RUNS", "s3://ann:{}@bucket/x", SEARCH),
    ("NARL_RUNS", "s3://ann:{}@bucket/x", ["pareto"]),
    ("MLFLOW_TRACKING_URI", "oracle://ann:{}@127.0.0.1:1/db", ["sync"]),
    ("MLFLOW_TRACKING_URI", "http://ann:{}@127.0.0.1:1/x", ["sync"]),
    ("MLFLOW_TRACKING_URI", "oracle://ann:{}@127.0.0.1:1/db", ["evaluate", RUN]),
    ("MLFLOW_TRACKING_URI", "http://ann:{}@127.0.0.1:1/x", ["evaluate", RUN]),
    ("AWS_ENDPOINT_URL", "http://ann:{}@127.0.0.1:1", ["pareto", "--runs", "s3://bucket/runs"]),
    ("HTTPS_PROXY", "http://ann:{}@127.0.0.1:1", ["pareto", "--runs", "s3://bucket/runs"]),
    ("AWS_SECRET_ACCESS_KEY", "{}", ["pareto", "--runs", "s3://bucket/runs?endpoint_override=http://127.0.0.1:1"]),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with a search, a bundle and files that a command can begin with."""
    root = tmp_path_factory.mktemp("written")
    folder = SearchFolder(root / "narl-runs" / "tiny")
    folder.save_space(build(SearchSpace, SPACE, "space"))
    Ledger(folder.ledger_path).append(make_record(0))
    (root / "space.yaml").write_text((folder.space_path).read_text().replace("name: tiny", "name: new", 1))
    (root / "pipeline.yaml").write_text(SearchSpace.load(root / "space.yaml").pipeline.model_dump_json())
    config = bundle_config({"arch": "shufflenet_v2_x1_0", "split": 1, "sigma": 1, "lambda": 0.01})
    halves = halves_of(config.trial, config.image_size)
    client = halves.client(seed=0)
    server = Standardised(halves.rest(num_outputs=config.utility_outputs, seed=0), halves.feature_shape[0])
    states = {"client_state": client.state_dict(), "server_state": server.state_dict()}
    write_bundle(root / "bundle", **states, config=config, metrics={})
    return root


@pytest.fixture
def work(written, tmp_path, monkeypatch, aws):
    """A copy of it, in which commands work."""
    for name in ("NARL_RUNS", "NARL_STORAGE", "MLFLOW_EXPERIMENT_NAME", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NARL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def told(work, capfd, caplog):
    """All that a command has said and written, and its exit code."""

    def run(*argv: str) -> tuple[str, int]:
        caplog.set_level(logging.INFO)
        try:
            code = main(argv)
        except SystemExit as stop:  # argparse
            code = stop.code
        shown = capfd.readouterr()
        files = "".join(
            path.read_text("latin-1") for path in work.rglob("*") if path.is_file() and path != work / "p.yaml"
        )
        return "".join([shown.out, shown.err, *caplog.messages, files, *(str(p) for p in work.rglob("*"))]), code

    return run


@pytest.mark.parametrize("argv", OPTIONS, ids=" ".join)
def test_no_refused_option_is_told(told, argv):
    for password, words in PASSWORDS.items():
        text, code = told(*(word.replace("{}", password) for word in argv))
        assert code == 2
        assert not [word for word in words if word in text], text


@pytest.mark.parametrize(("variable", "value", "argv"), VARIABLES)
def test_no_variable_is_told_by_who_fails(told, monkeypatch, variable, value, argv):
    for password, words in list(PASSWORDS.items())[1:4:2]:  # some of these wait for a server
        monkeypatch.setenv(variable, value.replace("{}", password))
        text, code = told(*argv)
        assert code == 2
        assert not [word for word in words if word in text], text


def test_mlflow_that_works_is_named_without_its_password(told, work, monkeypatch, empty_database):
    (work / "mlflow.db").write_bytes(empty_database.read_bytes())
    real, known = mlflow.MlflowClient, f"sqlite:///{work}/mlflow.db"
    monkeypatch.setattr(mlflow, "MlflowClient", lambda tracking_uri, registry_uri: real(known, known))
    for password, words in list(PASSWORDS.items())[1:4:2]:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:{password}@mlflow.host:5000/x?token={quote(password)}")
        text, code = told("sync")
        assert code == 0 and "to MLflow at http://" in text
        assert not [word for word in words if word in text]


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_store_that_works_is_named_without_its_password(told, monkeypatch, s3_server, how):
    import boto3

    boto3.client("s3", endpoint_url=s3_server).create_bucket(Bucket="canaries")
    # What a bundle holds has no say in what is told: without its graphs, which take seconds.
    monkeypatch.setattr(portable, "make_portable", lambda source, folder, redact: shutil.copytree(source, folder))
    endpoint = s3_server.replace("://", "://ann:swordfish@")
    if how == "variable":
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    text, code = told(
        *("export", "--from", "bundle", "--to", "s3://canaries/x"),
        *(["--endpoint-url", endpoint] if how == "option" else []),
    )
    assert code == 0 and "exported bundle to s3://canaries/x" in text and "swordfish" not in text


def test_an_address_in_a_file_is_not_told(told):
    for password, words in PASSWORDS.items():
        quoted = password.replace("'", "''")
        for root in (f"s3://ann:{quoted}@bucket/x", f"s3://bucket/x?endpoint_override=ann:{quoted}@host"):
            Path("p.yaml").write_text(f"name: p\nsource: {{kind: celeba, root: '{root}'}}\nutility: Male\n")
            text, code = told("data", "build", "p.yaml")
            assert code == 2 and "p.yaml" in text
            assert not [word for word in words if word in text], text
