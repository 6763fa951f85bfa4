"""The commands of docs/cluster/onprem.md, as typed, on two hosts made here: `ray up` to `ray down`.

The shipped onprem.yaml is changed only where its page says so. narl is on the hosts as `ray up` installs it, and beside
the script that Ray copies to the home folder lies a folder of narl's name. What was typed and what it printed:
    NARL_TWO_HOSTS_LOG=docs/cluster/two_hosts.log python -m pytest tests/cluster/test_two_hosts.py
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from hosts import USER, Host, free_port, host, make_key, why_not
from ray._private.utils import get_num_cpus
from tiny_search import SPACE

from narl.search.ledger import read_ledger

REASON = why_not()
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(REASON is not None, reason=f"no hosts can be made here: {REASON}"),
]

CHECKOUT = Path(__file__).parents[2]
HEAD, WORKER = "127.0.0.2", "127.0.0.3"  # Ray takes 127.0.0.1 for a wish to be found by the network's address
TRIALS = 6
SUBMIT = "ray submit onprem.yaml search.py '~/narl-checkout/search_spaces/tiny.yaml'"
PREFACE = """\
# What tests/cluster/test_two_hosts.py typed in cluster/, and what was printed. Two hosts in namespaces of one machine;
# addresses, ports and account are anonymised; Ray's details and rsync's lists of files are left out.

"""
# All of narl's dependencies are on the hosts, and nothing is to be downloaded.
PIP_CONFIG = """[global]
no-index = true
disable-pip-version-check = true
[install]
no-build-isolation = false
no-deps = true
"""


@dataclass
class Cluster:
    """Where commands are typed, the two hosts, and what `ray up` and `ray submit` printed."""

    desk: Host
    head: Host
    worker: Host
    folder: Path
    log: list[str] = field(default_factory=list)

    def type(self, command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder `cluster` of the desk's checkout, and note it in the log."""
        done = self.desk.run(command, cwd="narl/cluster", **env)
        self.log += [f"$ {command}", readable(done.stdout + done.stderr), ""]
        return done


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts")
    key = folder / "key"
    make_key(key)
    ports = {HEAD: free_port(HEAD), WORKER: free_port(WORKER)}
    with ExitStack() as stack:
        desk = stack.enter_context(host("desk", folder / "desk"))
        head, worker = (
            stack.enter_context(host(name, folder / name, address, port=ports[address], key=key))
            for name, address in (("head", HEAD), ("worker", WORKER))
        )
        for each in (desk, head, worker):
            furnish(each, ports)
        for each in (head, worker):
            (each.home / "narl").mkdir()  # of the package's name, beside Ray's copy of search.py
        shutil.copy(key, desk.home / ".ssh" / "narl_cluster")
        check_out(desk.home / "narl")
        installed = desk.run("~/narl-venv/bin/pip install --quiet ~/narl")
        assert installed.returncode == 0, installed.stderr
        made = Cluster(desk, head, worker, desk.home / "narl" / "cluster")
        token = made.desk.run("(umask 077 && ray get-auth-token --generate > /dev/null)")
        assert token.returncode == 0, token.stderr
        up = made.type("ray up -y onprem.yaml")
        assert up.returncode == 0, up.stdout + up.stderr
        yield made
    if os.environ.get("NARL_TWO_HOSTS_LOG"):
        Path(os.environ["NARL_TWO_HOSTS_LOG"]).write_text(published("\n".join(made.log), ports), encoding="utf-8")


def furnish(each: Host, ports: dict[str, int]) -> None:
    """What a user's hosts have: ssh's ports, and Python with narl's dependencies."""
    ssh = each.home / ".ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "config").write_text("".join(f"Host {address}\n  Port {port}\n" for address, port in ports.items()))
    (ssh / "config").chmod(0o600)
    (each.home / ".config" / "pip").mkdir(parents=True)
    (each.home / ".config" / "pip" / "pip.conf").write_text(PIP_CONFIG)
    (each.home / ".bashrc").write_text("export RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES=200000000\n")
    site = "~/narl-venv/lib/python*/site-packages"
    made = each.run(
        f"python -m venv ~/narl-venv && ~/narl-venv/bin/pip uninstall -qy setuptools"
        f" && echo {sysconfig.get_path('purelib')} > $(echo {site})/dependencies.pth"
    )
    assert made.returncode == 0, made.stderr


def check_out(checkout: Path) -> None:
    """narl's files, a space that fits one trial a host, and onprem.yaml with hosts, account and port of our own."""
    for name in ("narl", "cluster", "pipelines", "search_spaces"):
        shutil.copytree(CHECKOUT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.cfg", "constraints.txt"):
        shutil.copy(CHECKOUT / name, checkout)
    space = SPACE | {"trials": TRIALS, "resources": {"cpus_per_trial": get_num_cpus()}}
    (checkout / "search_spaces" / "tiny.yaml").write_text(yaml.safe_dump(space))
    path = checkout / "cluster" / "onprem.yaml"
    text = path.read_text()
    for shipped, ours in {
        "head_ip: 192.168.1.10": f"head_ip: {HEAD}",
        "worker_ips: [192.168.1.11, 192.168.1.12]": f"worker_ips: [{WORKER}]",
        "ssh_user: narl": f"ssh_user: {USER.pw_name}",
        "6399": str(free_port(HEAD)),
    }.items():
        assert shipped in text
        text = text.replace(shipped, ours)
    path.write_text(text)


# --- in the order in which a user types ---


@pytest.fixture(scope="module")
def searched(cluster):
    """The cluster after its two commands."""
    status, cpus = "ray exec onprem.yaml 'ray status'", f"/{2.0 * get_num_cpus()} CPU"
    wait_for(lambda: cpus in cluster.desk.run(status, cwd="narl/cluster").stdout, "the worker to join")
    cluster.type(status)
    done = cluster.type(SUBMIT)
    assert done.returncode == 0, readable(done.stdout + done.stderr)
    return cluster


def test_trials_run_on_both_hosts(searched):
    records = read_ledger(searched.head.home / "narl-runs" / "tiny" / "ledger.jsonl")
    assert [record.status for record in records] == ["complete"] * TRIALS
    assert {record.tags["node"] for record in records} == {HEAD, WORKER}
    searched.type(
        """ray exec onprem.yaml "grep -o 'node[^,}]*' narl-runs/tiny/ledger.jsonl | sort | uniq -c" """.strip()
    )


def test_narl_is_the_installed_package(searched):
    """Neither the folder beside search.py nor a checkout."""
    where = "python -c 'import narl; print(narl.__file__)'"
    for each in (searched.head, searched.worker):
        assert f"{USER.pw_dir}/narl-venv/lib/" in each.run(where).stdout


def test_the_answer_is_a_clean_file(searched):
    asked = searched.type("narl best-config --cluster onprem.yaml --with-worthless > best.yaml")
    assert (asked.returncode, asked.stderr) == (0, "")
    best = yaml.safe_load((searched.folder / "best.yaml").read_text())
    assert best == json.loads(searched.head.run("narl best-config --with-worthless --format json").stdout)
    checked = searched.desk.run(
        "python -c \"from narl.config.trial import TrainConfig; TrainConfig.load('best.yaml')\""
    )
    assert best["found_by"]["search"] == "tiny", checked.stderr
    impossible = searched.type("narl best-config --cluster onprem.yaml --min-utility 100")
    assert (impossible.returncode, impossible.stdout, impossible.stderr.count("\n")) == (1, "", 1)


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        ((), "--cluster onprm.yaml", "no such file; did you mean 'onprem.yaml'?"),
        ((), "--cluster changed.yaml --runs '~/elsewhere'", "No such file or directory"),
        ((), "--cluster changed.yaml --runs '~/narl'", "no search in ~/narl on the head of changed.yaml"),
        ((), "--cluster changed.yaml --name other", "unknown search 'other': allowed are tiny"),
        (("cluster_name: narl", "cluster_name: other"), "--cluster changed.yaml", "cluster (other) not found"),
        ((f"ssh_user: {USER.pw_name}", "ssh_user: nobody"), "--cluster changed.yaml", "Permission denied"),
        (("provider:", "supplier:"), "--cluster changed.yaml", "not a file of Ray's launcher"),
    ],
)
def test_an_answer_that_cannot_be_had_is_one_line(searched, change, options, reason):
    text = (searched.folder / "onprem.yaml").read_text()
    (searched.folder / "changed.yaml").write_text(text.replace(*change) if change else text)
    done = searched.desk.run(f"narl best-config {options}", cwd="narl/cluster")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert reason in done.stderr


def test_nobody_without_the_token(searched):
    assert (searched.worker.home / ".ray" / "auth_token").stat().st_mode & 0o077 == 0
    env = ". ~/narl-checkout/cluster/onprem/env.sh"
    assert searched.head.run(f"{env}; ray status").returncode == 0
    assert searched.head.run(f"{env}; RAY_AUTH_TOKEN={'0' * 64} ray status").returncode != 0


def test_down_ends_the_cluster_and_nothing_else(searched):
    """What `ray stop` would take for a part of Ray belongs to somebody else."""
    for each in (searched.head, searched.worker):
        each.run("cp $(command -v sleep) /tmp/raylet && (setsid /tmp/raylet 3600 > /dev/null 2>&1 &)")
    done = searched.type("ray down -y onprem.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    for each in (searched.head, searched.worker):
        lines = each.command_lines()
        assert not [line for line in lines if "/tmp/narl-" in line or "ray::" in line]
        assert "/tmp/raylet 3600" in lines
    gone = searched.type("narl best-config --cluster onprem.yaml")
    assert (gone.returncode, gone.stdout, gone.stderr.count("\n")) == (2, "", 1)


def wait_for(condition, what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        time.sleep(1)


def readable(output: str) -> str:
    """What a person saw in the end: of a view that was redrawn, the last state, without colours.

    A carriage return came as a line of its own, which then begins by clearing what it returned to.
    """
    lines: list[str] = []
    for line in output.splitlines():
        if "\x1b[2K" in line:
            lines = lines[: max(0, len(lines) - 1 - line.count("\x1b[1A"))]
        lines.append(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).rstrip())
    return "\n".join(lines)


def published(log: str, ports: dict[str, int]) -> str:
    """The log without names of this machine, Ray's details and rsync's lists."""
    log = re.sub(r"sending incremental file list\n.*?speedup is [\d.]+\n", "", log, flags=re.DOTALL)
    log = re.sub(r"^.*\sWARN docker.py.*\n To ensure this mount.*\n", "", log, flags=re.MULTILINE)
    log = re.sub(
        r"^(.*\s(VV?INFO|VWARN|VERR) |.* node_provider.py|Shared connection to).*\n", "", log, flags=re.MULTILINE
    )
    names = {HEAD: "HEAD", WORKER: "WORKER", USER.pw_dir: "~", **{str(port): "PORT" for port in ports.values()}}
    for name, public in names.items():
        log = log.replace(name, public)
    return PREFACE + re.sub(rf"\b{USER.pw_name}\b", "USER", log)
