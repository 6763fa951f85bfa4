"""A ledger at another place: fetched where it is longer, never overwritten by another search's."""

from __future__ import annotations

import pytest

from narl.errors import ConfigError
from narl.ledger import Ledger, read_ledger
from narl.search.archive import Archive, below
from narl.search_folder import SearchFolder


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path):
    """Where searches are stored."""
    if request.param == "folder":
        return str(tmp_path / "shared")
    import boto3

    request.getfixturevalue("aws")
    server = request.getfixturevalue("s3_server")
    boto3.client("s3", endpoint_url=server, region_name="us-east-1").create_bucket(Bucket="archive")
    request.addfinalizer(lambda: _empty(server))
    return f"s3://archive/searches?endpoint_override={server}&region=us-east-1"


def _empty(server: str) -> None:
    import boto3

    client = boto3.client("s3", endpoint_url=server, region_name="us-east-1")
    for item in client.list_objects_v2(Bucket="archive").get("Contents", []):
        client.delete_object(Bucket="archive", Key=item["Key"])
    client.delete_bucket(Bucket="archive")


def host(tmp_path, name: str, records) -> SearchFolder:
    """A host's folder of the search `s` with these records."""
    folder = SearchFolder(tmp_path / name / "s")
    folder.path.mkdir(parents=True)
    folder.space_path.write_text("name: s\n")
    ledger = Ledger(folder.ledger_path)
    for one in records:
        ledger.append(one)
    return folder


def test_a_new_host_gets_what_is_stored_and_a_longer_ledger_stays(tmp_path, place, record):
    records = [record(i) for i in range(4)]
    Archive(place, host(tmp_path, "a", records[:2])).finish(records[:2])

    new = SearchFolder(tmp_path / "b" / "s")
    Archive(place, new).fetch()
    assert read_ledger(new.ledger_path) == records[:2] and new.space_path.read_text() == "name: s\n"

    ahead = host(tmp_path, "c", records)
    Archive(place, ahead).fetch()
    assert read_ledger(ahead.ledger_path) == records
    Archive(place, ahead).finish(records)
    Archive(place, new).fetch()
    assert read_ledger(new.ledger_path) == records


def test_a_torn_line_is_not_stored(tmp_path, place, record):
    folder = host(tmp_path, "a", [record(0)])
    with open(folder.ledger_path, "ab") as file:
        file.write(b'{"trial_id": 1, "conf')
    Archive(place, folder).finish([])
    new = SearchFolder(tmp_path / "b" / "s")
    Archive(place, new).fetch()
    assert new.ledger_path.read_bytes().endswith(b"}\n") and len(read_ledger(new.ledger_path)) == 1


def test_another_search_is_neither_fetched_over_nor_overwritten(tmp_path, place, record):
    Archive(place, host(tmp_path, "a", [record(0)])).finish([])
    other = host(tmp_path, "b", [record(0, sigma=7.0)])
    with pytest.raises(ConfigError, match="they are two searches"):
        Archive(place, other).fetch()
    assert read_ledger(other.ledger_path)[0].config.sigma == 7.0
    with pytest.raises(ConfigError, match="already exists at .*--resume goes on"):
        Archive(place, SearchFolder(tmp_path / "c" / "s")).refuse_existing()
    Archive(place, SearchFolder(tmp_path / "c" / "t")).refuse_existing()


@pytest.mark.parametrize(
    ("location", "there"),
    [
        ("/mnt/nfs/", "/mnt/nfs/s/checkpoints"),
        ("s3://b/p", "s3://b/p/s/checkpoints"),
        ("s3://b?endpoint_override=h:1&scheme=http", "s3://b/s/checkpoints?endpoint_override=h:1&scheme=http"),
    ],
)
def test_options_of_an_address_stay_at_its_end(location, there):
    assert below(location, "s", "checkpoints") == there
