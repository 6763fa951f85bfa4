"""Where a node keeps what can be made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from narl.core.cache import NodeCache, cache_root, node_cache
from narl.core.errors import DataError


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.delenv("NARL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    (tmp_path / "file").write_text("")


def test_the_order_of_what_names_it(monkeypatch, tmp_path):
    assert cache_root() == tmp_path / "xdg" / "narl"
    monkeypatch.setenv("NARL_CACHE", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"
    assert cache_root(tmp_path / "given") == tmp_path / "given"
    monkeypatch.setenv("NARL_CACHE", "~/own")
    assert cache_root() == Path.home() / "own"


def test_a_node_takes_the_drivers_folder_where_it_can(tmp_path):
    assert node_cache(tmp_path / "driver") == NodeCache(tmp_path / "driver", "")
    assert (tmp_path / "driver").is_dir() and not any((tmp_path / "driver").iterdir())


def test_else_its_own_and_says_why(monkeypatch, tmp_path):
    found = node_cache(tmp_path / "file" / "cache")
    assert found.path == tmp_path / "xdg" / "narl" and found.path.is_dir()
    assert found.reason == f"the cache folder {tmp_path / 'file' / 'cache'} cannot be written to: Not a directory"
    monkeypatch.setenv("NARL_CACHE", str(tmp_path / "node"))
    assert node_cache(tmp_path / "file" / "cache").path == tmp_path / "node"
    monkeypatch.setenv("NARL_CACHE", str(tmp_path / "file"))
    assert node_cache().path == tmp_path / "xdg" / "narl"


def test_no_folder_at_all_names_each(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="file/cache cannot .*file/narl cannot .*NARL_CACHE names another") as caught:
        node_cache(tmp_path / "file" / "cache")
    assert "\n" not in str(caught.value)
