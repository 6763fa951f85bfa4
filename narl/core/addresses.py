"""Addresses on their way to a person, a log, a ledger or MLflow: passwords stay behind.

`shown` is for an address, `without_credentials` for text that may hold some; no address is shown as it was given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote

_SAYS_SECRET = re.compile(r"pass|pwd|^pw$|secret|token|key|sig|cred|auth", re.IGNORECASE)
_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_ASSIGNED = re.compile(r"(?i)(\w*(?:password|passwd|pwd|secret|token)=)(?:'[^']*'|\"[^\"]*\"|[^\s'\"&;,)]*)")
# Shorter than this, a password, a part of one and a name alone, which may be a token, are words like any other.
_SHORTEST, _SHORTEST_PART, _SHORTEST_NAME = 3, 4, 16


def shown(address: str) -> str:
    """The address without `user:password@` and without its query; a path as it is.

    People forget to quote what their passwords hold. So credentials end at the last `@`, if a colon or an `@` comes
    before the first slash; where that may be one of the query, nothing but the scheme is shown.
    """
    scheme, mark, rest = _scheme(address)
    if not mark:
        return re.sub(r"^[^\s/@]*:.*@", "", address, flags=re.DOTALL)
    place, _, query = rest.partition("?")
    if re.match(r"[^/?#]*[:@]", rest):
        place = rest.rpartition("@")[2].partition("?")[0] if not ("@" in place and "@" in query) else "…"
    return f"{scheme}{mark}{place}"


def without_credentials(text: str, *addresses: str) -> str:
    """The text without any address's credentials, and without what environment variables hold in confidence.

    Args:
        addresses: that it may quote, whole or in part, besides those in the environment. Only of such is a password
            known that has a space or a quote in it.
    """
    known = [*addresses, *(value for name, value in os.environ.items() if _is_address(name, value))]
    for address in known:
        for spelling in _spellings(address):
            text = text.replace(spelling, shown(address))
    secrets = {spelling for secret in _secrets(known) for spelling in _spellings(secret)}
    for secret in sorted(secrets, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "…", text)
    text = _IN_TEXT.sub(lambda match: shown(match[0]), text)
    return _ASSIGNED.sub(r"\1…", text)


def _scheme(address: str) -> tuple[str, str, str]:
    """Take the address apart, `scheme`, `://` and the rest, which is all where no scheme comes first."""
    found = re.match(r"([A-Za-z][\w+.-]*)(://)", address)
    return (found[1], found[2], address[found.end() :]) if found else ("", "", address)


def _is_address(name: str, value: str) -> bool:
    return bool(_scheme(value)[1]) or ("@" in value and name.lower().endswith(("proxy", "address")))


def _secrets(addresses: list[str]) -> Iterator[str]:
    """What must not be told. Passwords in parts too, as messages quote the part that they cannot read."""
    for address in addresses:
        rest = _scheme(address)[2]
        found = [value for name, value in re.findall(r"[?&;]([^=&;]*)=([^&;]*)", rest) if _SAYS_SECRET.search(name)]
        credentials, at, _ = rest.rpartition("@")
        name, colon, password = credentials.partition(":")
        if colon or len(name) >= _SHORTEST_NAME:
            found.append(password if colon else name)
        for secret in found:
            yield from (s for s in (secret, unquote(secret)) if len(s) >= _SHORTEST)
            yield from (part for part in re.split(r"[^\w-]+", unquote(secret)) if len(part) >= _SHORTEST_PART)
    for name, value in os.environ.items():
        if re.search(r"PASSWORD|SECRET|TOKEN(?!.*(PATH|FILE))", name) and len(value) >= 6:
            yield value


def _spellings(text: str) -> set[str]:
    """As it is, as Python and JSON write it between quotes, and as addresses do."""
    return {text, repr(text)[1:-1], text.replace("\\", "\\\\").replace('"', '\\"'), quote(text), quote(text, safe="")}
