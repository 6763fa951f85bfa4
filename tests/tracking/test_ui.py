"""`narl ui`: MLflow's real server on this machine alone, and what a person sees there in a real browser."""

from __future__ import annotations

import re
import signal
import socket
import urllib.request

import pytest
from browser import MISSING, chromium
from example_pipelines import DIGITS
from example_search import make_search
from processes import alive, descendants
from tiny_search import start

from narl.cli.main import main
from narl.config.search_space import SearchSpace
from narl.core.pareto import front_of
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger

SPACE = {"name": "digits", "pipeline": DIGITS, "architectures": {"resnet18": {}}, "sigma": 0.5, "lambda": [0.01, 0.1]}
RECORDS = make_search(12)
FRONT = front_of(RECORDS, ("delta", "client_gflops", "client_memory_mib"))
in_a_browser = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, empty_database):
    """A folder with a search, and with what MLflow keeps of it."""
    folder = tmp_path_factory.mktemp("ui")
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    search = SearchFolder(folder / "narl-runs" / "digits")
    search.save_space(SearchSpace.model_validate(SPACE))
    ledger = Ledger(search.ledger_path)
    for record in RECORDS:
        ledger.append(record)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("NARL_RUNS", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        assert main(["sync"]) == 0
    return folder


@pytest.fixture(scope="module")
def ui(folder):
    """The command at work, and the addresses that it printed: of the search, its figures, and its front in a table."""
    process = start(folder, "ui", "digits")
    try:
        lines = [process.stdout.readline() for _ in range(4)]
        assert lines[3] == "Ctrl-C ends it.\n", process.stderr.read()
        yield process, [line.split()[-1] for line in lines[:3]]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def test_only_this_machine_is_answered_and_in_mlflows_own_words(ui):
    _, (search, *_) = ui
    host, port = re.match(r"http://(127\.0\.0\.1):(\d+)/#/experiments/", search).groups()
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.2", int(port)))  # this machine by another address
    run = re.search(r"runs/(\w+)\?workflowType=machine_learning", search)[1]
    with urllib.request.urlopen(f"http://{host}:{port}/api/2.0/mlflow/runs/get?run_id={run}") as answer:
        assert b'"narl.search"' in answer.read()


@in_a_browser
def test_the_page_of_a_search_says_what_it_found_at_once_and_leads_to_the_trials(ui, browser):
    _, (search, *_) = ui
    best = max(FRONT, key=lambda record: record.metrics.delta)
    browser.like(width=1280)
    browser.open(search)
    browser.wait_for("document.body.innerText.includes('Read parity, hide digit')")
    name = f"{best.config.client} ({best.trial_id})"
    link = f"[...document.querySelectorAll('a')].find(link => link.innerText == '{name}')"
    within = f"(box => 0 < box.top && box.bottom < innerHeight / 3)({link}.getBoundingClientRect())"
    assert browser.run(f"return {within}"), browser.run("return document.body.innerText")
    browser.open(browser.run(f"return {link}.href"))  # which MLflow opens in a new tab
    browser.wait_for(f"document.querySelector('h1, h2')?.innerText.includes('{best.trial_id} {best.config.client}')")
    assert "workflowType=machine_learning" in browser.run("return location.href")


@in_a_browser
def test_the_table_shows_the_front_alone_with_whole_names_and_delta_first(ui, browser):
    _, (*_, table) = ui
    browser.like(width=1900)
    browser.open(table)
    names = '[...document.querySelectorAll(`[col-id="attributes.\\`Run Name\\`"] a`)]'
    browser.wait_for(f"{names}.length == {len(FRONT)}")
    best_first = sorted(FRONT, key=lambda record: -record.metrics.delta)
    assert browser.run(f"return {names}.map(a => a.innerText)") == [
        f"{r.trial_id} {r.config.client}" for r in best_first
    ]
    assert browser.run(f"return {names}.every(a => a.scrollWidth <= a.clientWidth)")
    heads = browser.run("""
        const heads = [...document.querySelectorAll('.ag-header-cell[col-id^=metrics]')];
        const place = head => head.getBoundingClientRect().x;
        return heads.sort((one, other) => place(one) - place(other)).map(head => head.innerText.trim());""")
    assert heads[:3] == ["delta", "utility", "leakage"]


@in_a_browser
def test_the_figures_show_every_trial_and_a_point_leads_to_its_run(ui, browser):
    _, (_, figures, _) = ui
    browser.like(width=1280)
    browser.open(figures)
    browser.look_into("iframe")
    points = "[...document.querySelectorAll('#front .points path')].filter(point => point.__data__.data !== undefined)"
    finished = [record for record in RECORDS if record.metrics is not None]
    assert browser.wait_for(f"{points}.length") == len(finished)
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    browser.run(f"{points}.find(point => point.__data__.data === {FRONT[0].trial_id}).id = 'aim'")
    browser.click("#aim")
    browser.wait_for(f"document.getElementById('picked').innerText.includes('trial {FRONT[0].trial_id}:')")
    address = browser.run("return document.querySelector('#picked a').href")
    browser.open(address)
    browser.wait_for(
        f"document.querySelector('h1, h2')?.innerText.includes('{FRONT[0].trial_id} {FRONT[0].config.client}')"
    )


def test_of_a_server_that_runs_elsewhere_only_the_addresses_are_told(ui, folder, monkeypatch, capsys):
    _, addresses = ui
    server = addresses[0].partition("/#/")[0]
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.replace("//", "//ann:s3cret@"))
    assert main(["ui"]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == addresses


def test_it_ends_when_it_is_told_to_and_leaves_no_process_behind(ui):
    process, _ = ui
    started = descendants(process.pid)
    assert any("mlflow" in command for command in started.values())
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert alive(started) == []


def test_a_search_that_mlflow_does_not_have_starts_nothing(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["ui", "--runs", str(folder / "narl-runs")]) == 2
    assert "has no run of the search 'digits': narl sync sends it" in capsys.readouterr().err
    assert not (tmp_path / "mlflow.db").exists()


def test_a_port_that_is_taken_is_refused(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["ui", "--port", str(port)]) == 2
    assert capsys.readouterr().err == f"narl: port {port} of 127.0.0.1: Address already in use\n"
