"""S3 servers that are not AWS's, and know nothing of the checksums boto3 sends since 1.36."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import torch
from example_bundle import bundle_config

from narl.core.errors import NarlError
from narl.export.bundle import FILES, upload_bundle, write_bundle
from narl.export.stores import open_store
from narl.storage.places import open_storage

BUCKET = "models"


class Strict(BaseHTTPRequestHandler):
    """Objects of one bucket in `server.objects`. Refuses what S3 did not have when it was written, and deletes nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code: int, body: bytes = b"") -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, code: int, name: str, message: str) -> None:
        self.answer(code, f"<Error><Code>{name}</Code><Message>{message}</Message></Error>".encode())

    def do_GET(self):
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        if bucket != BUCKET:
            self.refuse(404, "NoSuchBucket", "no bucket of that name")
        elif key:
            found = self.server.objects.get(key)
            self.refuse(404, "NoSuchKey", "") if found is None else self.answer(200, found)
        else:
            prefix = parse_qs(url.query).get("prefix", [""])[0]
            keys = sorted(k for k in self.server.objects if k.startswith(prefix))
            sizes = {key: len(self.server.objects[key]) for key in keys}
            rows = "".join(f"<Contents><Key>{k}</Key><Size>{size}</Size></Contents>" for k, size in sizes.items())
            self.answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode())

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        new = [name for name in self.headers if "checksum" in name.lower() or name.lower() == "content-encoding"]
        if new:
            self.refuse(400, "InvalidArgument", f"Unsupported header {new[0]}")
        else:
            self.server.objects[unquote(self.path).lstrip("/").partition("/")[2]] = body
            self.answer(200)

    def do_DELETE(self):
        self.refuse(405, "MethodNotAllowed", "This store\n keeps what it has")


@pytest.fixture
def server(aws, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Strict) as running:
        running.objects = {}
        threading.Thread(target=running.serve_forever, daemon=True).start()
        running.url = f"http://127.0.0.1:{running.server_address[1]}"
        yield running
        running.shutdown()


@pytest.fixture(params=["address", "variable", "configuration file"])
def location(request, server, monkeypatch, tmp_path):
    """The bucket at that server, however it is named."""
    if request.param == "address":
        return f"s3://{BUCKET}/x?endpoint_override={server.url}"
    if request.param == "variable":
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    else:
        (tmp_path / "aws").write_text(f"[default]\nendpoint_url = {server.url}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    return f"s3://{BUCKET}/x"


def test_files_are_stored_and_read(server, location):
    storage = open_storage(location)
    storage.put("a/ledger", b"content")
    assert (storage.get("a/ledger"), storage.get("b"), server.objects) == (b"content", None, {"x/a/ledger": b"content"})


def test_a_bundle_is_exported(server, location, tmp_path):
    state = {"weight": torch.zeros(3)}
    config = bundle_config({"arch": "resnet18", "split": 2, "sigma": 1, "lambda": 0.01})
    write_bundle(tmp_path / "bundle", client_state=state, server_state=state, config=config, metrics={})
    upload_bundle(tmp_path / "bundle", open_store(location))
    release = f"x/releases/{json.loads(server.objects['x/current.json'])['release']}"
    assert set(server.objects) == {"x/current.json", *(f"{release}/{name}" for name in (*FILES, "manifest.json"))}


def test_an_error_holds_the_servers_words_and_its_address(server, location):
    with pytest.raises(NarlError) as raised:
        open_storage(location).remove("a")
    said = f"cannot remove at s3://{BUCKET}/x: {server.url} answered MethodNotAllowed: This store keeps what it has"
    assert str(raised.value) == said
    with pytest.raises(NarlError) as raised:
        open_storage(location.replace(BUCKET, "modells")).names()
    said = f"there is no such bucket ({server.url} answered NoSuchBucket: no bucket of that name)"
    assert str(raised.value) == f"cannot list at s3://modells/x: {said}"


def test_who_does_not_answer_is_named(server, location):
    server.server_close()
    server.shutdown()
    with pytest.raises(NarlError, match=f"{server.url} cannot be reached$"):
        open_storage(location).names()


def test_awss_own_endpoint_is_named(aws, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(NarlError, match=r"https://s3\.eu-west-1\.amazonaws\.com cannot be reached$"):
        open_storage("s3://bucket/x?region=eu-west-1").names()
