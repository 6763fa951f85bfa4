"""A ledger at another place: fetched where it is longer, never overwritten by another search's."""

from __future__ import annotations

import time

import pytest

from narl.core.errors import ConfigError, NarlError
from narl.search.archive import Archive
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger, read_ledger


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
    with pytest.raises(ConfigError, match="already exists at .*`resume` continues"):
        Archive(place, SearchFolder(tmp_path / "c" / "s")).refuse_existing()
    Archive(place, SearchFolder(tmp_path / "c" / "t")).refuse_existing()


def test_two_hosts_at_one_search_do_not_write_over_each_other(tmp_path, place, record):
    """The first was thought dead, and goes on."""
    first = host(tmp_path, "a", [record(0)])
    alive = Archive(place, first)
    alive.finish([])
    second = SearchFolder(tmp_path / "b" / "s")
    heir = Archive(place, second)
    heir.fetch()
    time.sleep(1)  # S3 tells times of a second
    Ledger(second.ledger_path).append(record(1, sigma=2.0))
    heir.finish([])
    Ledger(first.ledger_path).append(record(1, sigma=3.0))
    with pytest.raises(NarlError, match="another driver is at work"):
        alive.finish([])
    Ledger(second.ledger_path).append(record(2))
    heir.finish([])
    new = SearchFolder(tmp_path / "c" / "s")
    Archive(place, new).fetch()
    assert [r.config.sigma for r in read_ledger(new.ledger_path)] == [1.0, 2.0, 1.0]


def test_what_ran_is_known_to_the_next_host_until_it_has_ended(tmp_path, place, record):
    folder, running = host(tmp_path, "a", [record(0)]), {1: record(1, sigma=2.0).config, 4: record(4, sigma=5.0).config}
    archive = Archive(place, folder)
    archive.unfinished = lambda: running
    archive.finish([])
    heir = Archive(place, SearchFolder(tmp_path / "b" / "s"))
    heir.fetch()
    assert heir.inherited == running
    archive.unfinished = dict
    archive.finish([])
    heir.fetch()
    assert heir.inherited == {}


@pytest.mark.parametrize(
    "content", [b"{", b"7", b'[{"trial_id": 1}]', b'[{"trial_id": 1, "config": {"arch": "x"}}]', b"\xff"]
)
def test_a_damaged_list_of_what_ran_costs_no_search(tmp_path, record, content, caplog):
    place = str(tmp_path / "shared")
    Archive(place, host(tmp_path, "a", [record(0)])).finish([])
    (tmp_path / "shared" / "s" / "running.json").write_bytes(content)
    heir = Archive(place, SearchFolder(tmp_path / "b" / "s"))
    heir.fetch()
    assert heir.inherited == {} and "running.json is ignored" in caplog.text


def test_disagreeing_ledgers_are_both_named(tmp_path, record):
    place = str(tmp_path / "shared")
    Archive(place, host(tmp_path, "a", [record(0), record(1)])).finish([])
    other = host(tmp_path, "b", [record(0), record(1, sigma=7.0)])
    with pytest.raises(ConfigError) as caught:
        Archive(place, other).fetch()
    assert str(other.ledger_path) in str(caught.value) and f"{place}/s" in str(caught.value)
