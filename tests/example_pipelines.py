"""Configurations that many tests start from, as they would be read from YAML."""

from __future__ import annotations

# scikit-learn's digits: no download, and 32x32 images unless a test says otherwise.
DIGITS = {
    "name": "digits",
    "source": {"kind": "digits"},
    "utility": {"name": "parity", "map": {"even": list("02468"), "odd": list("13579")}},
    "private": {"name": "digit"},
}
# So few and so small that an evaluation takes seconds.
FEW_DIGITS = DIGITS | {
    "image": {"size": 16},
    "splits": {"train_limit": 120, "validation_limit": 60, "test_limit": 60},
    "loader": "tensor",
}
