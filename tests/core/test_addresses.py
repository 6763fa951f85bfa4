"""No password survives, however it is spelled; what is no password does."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from narl.core.addresses import shown, without_credentials

# What a generator of passwords makes, and people do.
PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=20).filter(
    lambda text: "cat" not in text
)
SHAPES = (
    "postgresql://ann:{}@db.host/studies",
    "postgresql://db.host/studies?user=ann&password={}",
    "http://ann:{}@host:5000/x?workflowType=1",
    "s3://AKIA:{}@bucket/prefix",
    "ray://ann:{}@host:10001",
    "ann:{}@host:6379",
)


@given(PASSWORDS, st.sampled_from(SHAPES))
def test_an_address_is_shown_without_its_password(password, shape):
    given_as = quote(password, safe="") if "?" in shape else password
    told = shown(shape.format(given_as))
    assert told == shown(shape.format("x")) or ("@" in password and told == f"{shape.partition('://')[0]}://…")
    assert "ann" not in told


@given(PASSWORDS.map(lambda p: f"{p} with'a\"space"), st.sampled_from(SHAPES))
@example("00000:// with'a\"space", "ann:{}@host:6379")
def test_a_message_about_a_known_address_tells_nothing_of_its_password(password, shape):
    address = shape.format(quote(password, safe="") if "?" in shape else password)
    for message in (address, repr(address), json.dumps(address), f"no {password!r} here", quote(password), password):
        told = without_credentials(f"cannot open: {message}", address)
        assert password not in told and quote(password, safe="") not in told, told
        assert told.startswith("cannot open: ")


@pytest.mark.parametrize(
    "address",
    [
        "sqlite:////home/ann@work/study.db",
        "s3://bucket/ann@work/x",
        "http://host:5000/x",
        "file:///mnt/a@b",
        "/mnt/why?/a:b@c",
        "a@b/c",
        "~/x",
    ],
)
def test_what_is_no_password_stays(address):
    assert shown(address) == address and without_credentials(f"in {address}", address) == f"in {address}"


def test_secrets_of_the_environment_are_known(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "ann:sword fish@proxy:3128")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:mackerel@host")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a+haddock/9")
    monkeypatch.setenv("PROSE", "see http://ann:x@host and more")
    told = without_credentials("proxy ann:sword fish@proxy:3128, mackerel, key 'a+haddock/9', see http://h and more")
    assert told == "proxy proxy:3128, …, key '…', see http://h and more"


def test_a_password_that_is_part_of_a_word_spoils_no_message():
    told = without_credentials(
        "postgresql://postgres:postgres@h/d: no user postgres", "postgresql://postgres:postgres@h"
    )
    assert told == "postgresql://h/d: no user …"
