"""What runs below a process, from /proc."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def descendants(pid: int) -> dict[tuple[int, str], str]:
    """Every process below `pid`: (process id, start time), which nothing else ever has, and its command line."""
    children: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        status = _status(int(entry.name))
        if status:
            parent, started = status
            children.setdefault(parent, []).append((int(entry.name), started))
    found, waiting = {}, [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found[child] = _command_line(child[0])
            waiting.append(child[0])
    return found


def alive(processes: Iterable[tuple[int, str]]) -> list[int]:
    """Those that still run."""
    return [pid for pid, started in processes if (status := _status(pid)) and status[1] == started]


def _status(pid: int) -> tuple[int, str] | None:
    """Parent and start time; None for a process that is gone or a zombie."""
    try:
        # The name, in parentheses, may contain anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else (int(fields[1]), fields[19])


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
