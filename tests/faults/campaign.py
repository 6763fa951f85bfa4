"""How many faults of a kind there are, from which seed, and waiting for what they lead to."""

from __future__ import annotations

import os
import time

FAULTS = int(os.environ.get("NARL_FAULTS", "20"))
SEED = 20261125


def wait_for(condition, seconds: float, driver=None) -> bool:
    """Whether it came true in time; stops waiting when the driver has ended."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline and (driver is None or driver.poll() is None):
        time.sleep(0.05)
    return bool(found)
