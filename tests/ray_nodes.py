"""A Ray cluster of several nodes on this machine, each killable, none in the way of another cluster.

Never `ray stop`: it ends every Ray process of the host.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from processes import alive, descendants

# A dead node is noticed after about two seconds rather than after seventeen.
PROMPT = {
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "4",
}


class RayNode:
    """One `ray start --block` and everything below it."""

    def __init__(self, process: subprocess.Popen, log: Path, ip: str):
        self.process, self.log, self.ip = process, log, ip

    def cut_power(self) -> None:
        """Nothing runs and nothing is closed: only its silence shows that it is gone."""
        for pid in (self.process.pid, *alive(descendants(self.process.pid))):
            _send(pid, signal.SIGSTOP)

    def kill(self) -> None:
        """Each of its processes; what they were connected to hears of it at once."""
        below = descendants(self.process.pid)
        for pid in (self.process.pid, *alive(below)):
            _send(pid, signal.SIGKILL)
        self.process.wait(timeout=60)

    def terminate(self) -> None:
        """As Kubernetes ends a pod: it has its grace period to end by itself."""
        self.process.terminate()

    def workers(self) -> list[int]:
        """Process ids of its trials' actors."""
        return [pid for (pid, _), title in descendants(self.process.pid).items() if is_trial(title)]


class RayNodes:
    """A context: a head on 127.0.0.1 when entered, nothing left when left.

    Args:
        folder: for logs, and the home folder with a token that closes the cluster to everybody else.
    """

    def __init__(self, folder: Path, *, cpus: float = 1, env: dict[str, str] | None = None):
        self._folder, self._cpus = folder, cpus
        self.home = folder / "home"
        (self.home / ".ray").mkdir(parents=True)
        (self.home / ".ray" / "auth_token").write_text(secrets.token_hex(32))
        self._env = {**os.environ, "HOME": str(self.home), "RAY_AUTH_MODE": "token", **PROMPT, **(env or {})}
        self._count = 0
        self.nodes: list[RayNode] = []

    def __enter__(self) -> RayNodes:
        # Short: a socket's path has at most 107 bytes.
        self._temporary = tempfile.mkdtemp(prefix="r", dir="/tmp")
        (port,) = free_ports(1)
        self.address = f"127.0.0.1:{port}"
        # Without the autoscaler's process: nodes come when a test adds them.
        how = ["--head", f"--port={port}", "--include-dashboard=false", "--no-monitor"]
        self.head = self._start(how, self._cpus, "127.0.0.1", {})
        return self

    def __exit__(self, *error: object) -> None:
        for node in reversed(self.nodes):
            node.kill()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def add(self, cpus: float | None = None, *, gpus: int = 0, **env: str) -> RayNode:
        """Another node, on the next loopback address; its GPUs are declared, whether there are any or not."""
        self._count += 1
        ip = f"127.0.0.{1 + self._count}"
        how = [f"--address={self.address}", f"--num-gpus={gpus}"]
        return self._start(how, self._cpus if cpus is None else cpus, ip, env)

    def _start(self, how: list[str], cpus: float, ip: str, env: dict[str, str]) -> RayNode:
        log = self._folder / f"ray-{ip}.log"
        (agent_port,) = free_ports(1)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *how),
                *(f"--num-cpus={cpus:g}", f"--node-ip-address={ip}", f"--temp-dir={self._temporary}"),
                *(f"--dashboard-agent-listen-port={agent_port}", f"--object-store-memory={100 * 2**20}"),
                *("--min-worker-port=0", "--max-worker-port=0", "--include-log-monitor=false"),
            ],
            env={**self._env, **env},
            stdin=subprocess.DEVNULL,
            stdout=log.open("w", encoding="utf-8"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        node = RayNode(process, log, ip)
        self.nodes.append(node)
        deadline = time.monotonic() + 120
        while "--block" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        return node


def is_trial(title: str) -> bool:
    """Whether that command line is of an actor that runs trials."""
    return title.startswith(("ray::TrialActor", "ray::ResourceTrainable"))


def free_ports(count: int) -> list[int]:
    with ExitStack() as open_sockets:
        probes = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _send(pid: int, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, how)
