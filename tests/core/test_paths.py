from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narl.core.errors import ConfigError
from narl.core.paths import resolved, user_path


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert user_path("~/x") == Path("/home/somebody/x")
    assert user_path("a/~/x") == Path("a/~/x")


@pytest.mark.parametrize("place", ["~nosuchuser/x", "a\0b", ""])
def test_what_is_no_path_is_named(place):
    with pytest.raises(ConfigError, match="path|home"):
        user_path(place)


@given(st.text(max_size=20))
def test_any_text_is_a_path_or_a_message(text):
    try:
        assert isinstance(user_path(text), Path)
    except ConfigError as error:
        assert repr(text) in str(error)


def test_a_link_to_itself(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ConfigError, match="loop"):
        resolved(tmp_path / "loop" / "x")
