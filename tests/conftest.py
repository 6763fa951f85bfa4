"""What many tests need: records without training anything, an S3 server, and MLflow's database."""

from __future__ import annotations

import os
import sqlite3

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run beside each other; more threads only fight

import pytest
from example_records import make_record

# With two workers, what takes minutes must not begin last: `make test` hands files out in this order.
LONGEST = (
    "test_nodes_of_a_cluster.py",
    "test_team.py",
    "test_leaving_nodes.py",
    "test_search_end_to_end.py",
    "test_workers_of_a_trial.py",
    "test_kill_and_resume.py",
    "test_confirm.py",
    "test_cluster_driver.py",
    "test_stopping_under_ray.py",
    "test_mirror.py",
    "test_over_http.py",
    "test_portable.py",
    "test_measure.py",
    "test_ui.py",
)


def pytest_collection_modifyitems(items):
    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def _sqlite_does_not_wait_for_the_disk():
    """In this process: a commit waits 20 ms for a disk, and no test cuts the power."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def hasten(connection, _):
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hasten)
    yield
    event.remove(Engine, "connect", hasten)


@pytest.fixture
def record():
    """The factory `make_record`."""
    return make_record


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """MLflow's, with its tables made, which takes seconds: to be copied."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def s3_server():
    """The address of a server on loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """Credentials of nobody, and none of the machine's own."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKEFAKEFAKEFAKE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "swordfish")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path):
    """An empty place for `narl.storage.places.open_storage`."""
    if request.param == "folder":
        yield str(tmp_path / "shared")
        return
    import boto3

    request.getfixturevalue("aws")
    server = request.getfixturevalue("s3_server")
    client = boto3.client("s3", endpoint_url=server, region_name="us-east-1")
    client.create_bucket(Bucket="a-place")
    yield f"s3://a-place/searches?endpoint_override={server}&region=us-east-1"
    for item in client.list_objects_v2(Bucket="a-place").get("Contents", []):
        client.delete_object(Bucket="a-place", Key=item["Key"])
    client.delete_bucket(Bucket="a-place")
