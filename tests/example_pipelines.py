"""Configurations that many tests start from, as they would be read from YAML."""

from __future__ import annotations

# scikit-learn's digits: no download, and 32x32 images unless a test says otherwise.
DIGITS = {
    "name": "digits",
    "source": {"kind": "digits"},
    "utility": {"name": "parity", "map": {"even": list("02468"), "odd": list("13579")}},
    "private": {"name": "digit"},
}
