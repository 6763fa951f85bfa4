"""Hosts on one machine: each with a home, a temporary folder and processes of its own, reached by ssh on loopback.

A host is a mount and a PID namespace. Its home and its /tmp are folders of the test, so the test can read them from
outside; killing its first process ends all that ever ran on it, whatever happened, and its mounts go with it. Hosts
share the network, so each has an address of 127.0.0.0/8 and a port for sshd.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

USER = pwd.getpwuid(os.getuid())
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", os.defpath))
# Covered by a host's home or /tmp on some machines, needed on every host.
PYTHONS = sorted({sys.prefix, sys.base_prefix})

BOOT = """
set -eu
mount -t tmpfs tmpfs /mnt
mkdir /mnt/all
mount --rbind / /mnt/all
mount --bind "/mnt/all$FOLDER/home" "$HOME"
mount --bind "/mnt/all$FOLDER/tmp" /tmp
for path in $VISIBLE; do
    mkdir -p "$path"
    mount --bind "/mnt/all$path" "$path"
done
mount -t tmpfs tmpfs /run
mkdir /run/sshd
umount -l /mnt/all
exec "$@"
"""

SSHD_CONFIG = """
ListenAddress {address}
Port {port}
HostKey {home}/.sshd/host_key
AuthorizedKeysFile {home}/.ssh/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""


def why_not() -> str | None:
    """Why no hosts can be made on this machine; None if they can."""
    if os.getuid() != 0:
        return "only root may make mount namespaces in which sshd runs"
    missing = [
        name for name in ("setpriv", "unshare", "nsenter", "ssh", "ssh-keygen", "rsync") if not shutil.which(name)
    ]
    missing += [] if SSHD else ["sshd"]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: openssh-server rsync)"
    trial = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        text=True,
    )
    return f"no right to make namespaces: {trial.stderr.strip()}" if trial.returncode else None


@dataclass(frozen=True)
class Host:
    """A running host.

    Attributes:
        folder: holds its `home` and its `tmp`.
        address: of 127.0.0.0/8; None for one without sshd.
        pid: its first process, seen from outside.
    """

    name: str
    folder: Path
    address: str | None
    port: int | None
    pid: int

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def run(self, command: str, *, cwd: str = "", timeout: float = 600, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command on it, in its home or in `cwd`, with a bare environment and `env`."""
        bare = {
            "HOME": USER.pw_dir,
            "USER": USER.pw_name,
            "LOGNAME": USER.pw_name,
            "LANG": "C.UTF-8",
            "SHELL": "/bin/bash",
        }
        path = ":".join([f"{USER.pw_dir}/narl-venv/bin", f"{sys.prefix}/bin", "/usr/local/bin", "/usr/bin", "/bin"])
        inside = f"cd {shlex.quote(os.path.join(USER.pw_dir, cwd))} && {command}"
        return subprocess.run(
            ["nsenter", f"--target={self.pid}", "--mount", "--pid", "/bin/bash", "-c", inside],
            env=bare | {"PATH": path} | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def command_lines(self) -> list[str]:
        """Of every process on it but the one that asks."""
        asks = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null; echo; done"
        lines = self.run(asks).stdout.splitlines()
        return [line.strip() for line in lines if line.strip() and asks not in line]


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def make_key(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@contextmanager
def host(
    name: str, folder: Path, address: str | None = None, *, port: int | None = None, key: Path | None = None
) -> Iterator[Host]:
    """A host whose files lie in `folder`; `key.pub` may log in by ssh at `address`:`port`."""
    home, tmp = folder / "home", folder / "tmp"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    tmp.mkdir(exist_ok=True)
    tmp.chmod(0o1777)
    if address:
        make_key(home / ".sshd" / "host_key")
        (home / ".sshd" / "config").write_text(SSHD_CONFIG.format(address=address, port=port, home=USER.pw_dir))
        (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
        (home / ".ssh" / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
        first = [SSHD, "-D", "-e", "-f", f"{USER.pw_dir}/.sshd/config"]
    else:
        first = ["sleep", "infinity"]
    environment: Mapping[str, str] = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": USER.pw_dir,
        "FOLDER": str(folder.resolve()),
        "VISIBLE": " ".join(PYTHONS),
    }
    log = folder / "host.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL"),  # not even a killed test leaves a host behind
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("bash", "-c", BOOT, name, *first),
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield Host(name, folder, address, port, _first_process(process, log, first[0]))
    finally:
        for child in _children(process):
            os.kill(child, signal.SIGKILL)  # and the kernel ends all else in its namespace
        process.kill()
        process.wait()


def _first_process(unshare: subprocess.Popen, log: Path, command: str) -> int:
    """The host's first process, once it has booted."""
    deadline = time.monotonic() + 60
    while True:
        assert unshare.poll() is None and time.monotonic() < deadline, log.read_text()
        for child in _children(unshare):
            running = os.path.basename(os.readlink(f"/proc/{child}/exe")) == os.path.basename(command)
            if running and (command != SSHD or "listening" in log.read_text()):
                return child
        time.sleep(0.05)


def _children(process: subprocess.Popen) -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    except OSError:
        return []
