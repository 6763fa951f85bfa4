"""Either store shows one whole export at any moment, and touches nobody else's files. S3 is a real server."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys

import boto3
import pytest
import torch
from example_bundle import bundle_config
from faulty_s3 import way_to

from narl.core import files
from narl.core.errors import ConfigError, NarlError
from narl.export.bundle import FILES, upload_bundle, verify_bundle, write_bundle
from narl.export.incoming import import_bundle
from narl.export.manifest import write_manifest
from narl.export.releases import Encryption, S3Store
from narl.export.stores import FolderStore, open_store
from narl.storage.s3 import parse_s3

CONFIG = bundle_config({"arch": "resnet18", "split": 2, "sigma": 0.5, "lambda": 0.01})


class FolderPlace:
    def __init__(self, folder):
        self.folder = folder
        self.store = open_store(str(folder))

    def names(self):
        return sorted(p.name for p in self.folder.iterdir()) if self.folder.exists() else []

    def read(self, name):
        return (self.folder / name).read_bytes()

    current = read

    def write(self, name, data):
        self.folder.mkdir(exist_ok=True)
        (self.folder / name).write_bytes(data)


class S3Place:
    def __init__(self, server, bucket, way=None):
        self.s3, self.bucket = boto3.client("s3", endpoint_url=server, region_name="us-east-1"), bucket
        self.s3.create_bucket(Bucket=bucket)
        self.endpoint = way or server
        self.store = open_store(f"s3://{bucket}/models/best/", endpoint_url=self.endpoint)

    def names(self):
        listed = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return sorted(item["Key"].removeprefix("models/best/") for item in listed)

    def read(self, name):
        return self.s3.get_object(Bucket=self.bucket, Key=f"models/best/{name}")["Body"].read()

    def release(self):
        return json.loads(self.read("current.json"))["release"]

    def current(self, name):
        """A file of the release that is read, as the manifest describes it, and that as the pointer does."""
        manifest = self.read(f"releases/{self.release()}/manifest.json")
        assert hashlib.sha256(manifest).hexdigest() == json.loads(self.read("current.json"))["manifest_sha256"]
        for each, expected in json.loads(manifest)["files"].items():
            content = self.read(f"releases/{self.release()}/{each}")
            assert expected == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        return self.read(f"releases/{self.release()}/{name}")

    def write(self, name, data):
        self.s3.put_object(Bucket=self.bucket, Key=f"models/best/{name}", Body=data)


def new_bucket(request):
    return f"bucket-{abs(hash(request.node.name)) % 10**9}"


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path, aws):
    if request.param == "folder":
        return FolderPlace(tmp_path / "out")
    return S3Place(request.getfixturevalue("s3_server"), new_bucket(request))


@pytest.fixture
def s3_place(request, s3_server, aws):
    return S3Place(s3_server, new_bucket(request))


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle", 1.0)


@pytest.fixture
def better(tmp_path):
    return make_bundle(tmp_path / "better", 2.0)


def make_bundle(folder, value):
    state = {"weight": torch.full((8,), value)}
    write_bundle(folder, client_state=state, server_state=state, config=CONFIG, metrics={"delta": value})
    return folder


def delta(place):
    return json.loads(place.current("metrics.json"))["delta"]


def test_every_file_arrives_unchanged(place, bundle):
    upload_bundle(bundle, place.store)
    for name in (*FILES, "manifest.json"):
        assert place.current(name) == (bundle / name).read_bytes()
    assert len(place.names()) == len(FILES) + (1 if isinstance(place, FolderPlace) else 2)


def test_a_signature_goes_along_and_none_stays_that_is_of_an_earlier_export(place, bundle, better, tmp_path):
    listed = verify_bundle(bundle)
    write_manifest(
        bundle, {k: v for k, v in listed.items() if k != "files"} | {"signature": "model.sig"}, listed["files"]
    )
    with pytest.raises(NarlError, match=r"model\.sig is missing"):
        upload_bundle(bundle, place.store)
    (bundle / "model.sig").write_text("of this one")
    upload_bundle(bundle, place.store)
    upload_bundle(bundle, place.store)  # what is there already does not make it foreign
    assert place.current("model.sig") == b"of this one"
    url, endpoint = place.store.url, getattr(place, "endpoint", None)
    import_bundle(url, tmp_path / "here", endpoint_url=endpoint)
    assert (tmp_path / "here" / "model.sig").read_text() == "of this one"
    upload_bundle(better, place.store)
    import_bundle(url, tmp_path / "here", endpoint_url=endpoint)
    assert not (tmp_path / "here" / "model.sig").exists() and delta(place) == 2.0


def test_another_export_takes_the_place_of_an_earlier_one(place, bundle, better):
    upload_bundle(bundle, place.store)
    upload_bundle(better, place.store)
    assert delta(place) == 2.0


def test_notes_beside_an_earlier_export_are_kept(place, bundle, better):
    upload_bundle(bundle, place.store)
    place.write("NOTES.txt", b"mine")
    upload_bundle(better, place.store)
    assert place.read("NOTES.txt") == b"mine" and delta(place) == 2.0


@pytest.mark.parametrize("name", ["thesis.tex", "manifest.json"])
def test_somebody_elses_files_are_refused_and_left_alone(place, bundle, name):
    place.write(name, b'{"name": "a web app"}')
    with pytest.raises(ConfigError, match=f"no earlier export.*{name}"):
        upload_bundle(bundle, place.store)
    assert place.names() == [name]


@pytest.mark.parametrize("name", ["current.json", "releases/1.0/app.js", "releases/notes"])
def test_somebody_elses_releases_are_refused_and_left_alone(s3_place, bundle, name):
    s3_place.write(name, b"{}")
    with pytest.raises(ConfigError, match=f"no earlier export.*{name[:10]}"):
        upload_bundle(bundle, s3_place.store)
    assert s3_place.names() == [name]


def test_a_manifest_that_nests_too_deeply_is_somebody_elses(place, bundle):
    place.write("manifest.json", b"[" * 100_000)
    with pytest.raises(ConfigError, match="no earlier export"):
        upload_bundle(bundle, place.store)


def test_damaged_bundle_touches_nothing(place, bundle):
    (bundle / "metrics.json").write_text("{}")
    with pytest.raises(NarlError, match="metrics.json"):
        upload_bundle(bundle, place.store)
    assert place.names() == []


def test_exported_folder_is_itself_a_bundle(bundle, tmp_path):
    upload_bundle(bundle, open_store(str(tmp_path / "a" / "b")))
    verify_bundle(tmp_path / "a" / "b")


# --- a folder ---


def killed_at(step, bundle, folder):
    """Export in a process that is killed at its `step`th use of the disk; tells if it was."""
    if (pid := os.fork()) == 0:
        left = step

        def hook(event, arguments):
            nonlocal left
            if event.startswith(("open", "os.", "shutil.")) and event != "os.kill":
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            manifest, store = verify_bundle(bundle), FolderStore(folder)
            sys.addaudithook(hook)
            store.publish(bundle, manifest)
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1] == signal.SIGKILL


def test_an_export_that_is_killed_at_any_step_leaves_an_earlier_one(bundle, better, tmp_path):
    folder, seen = tmp_path / "out", []
    upload_bundle(bundle, FolderStore(folder))
    (folder / "NOTES.txt").write_text("mine")
    for step in range(1000):
        if not killed_at(step, better, folder):
            break
        verify_bundle(folder)
        assert (folder / "NOTES.txt").read_text() == "mine"
        seen.append(json.loads((folder / "metrics.json").read_text())["delta"])
        if seen[-1] == 2.0:
            upload_bundle(bundle, FolderStore(folder))
    assert len(seen) > 20 and set(seen) == {1.0, 2.0}
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "better", "out"}


def test_a_disk_on_which_names_cannot_change_places(bundle, better, tmp_path, monkeypatch):
    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: object())
    for each, value in ((bundle, 1.0), (better, 2.0)):
        upload_bundle(each, FolderStore(tmp_path / "out"))
        assert delta(FolderPlace(tmp_path / "out")) == value
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "better", "out"}


def test_files_of_a_folder_are_for_everybody_whatever_the_umask(bundle, tmp_path):
    for path in bundle.iterdir():
        path.chmod(0o600)
    before = os.umask(0o077)
    try:
        upload_bundle(bundle, FolderStore(tmp_path / "out"))
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert modes == {0o644} and stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755


def test_what_lies_beside_an_export_is_kept_as_it_is(bundle, better, tmp_path):
    folder = tmp_path / "out"
    upload_bundle(bundle, FolderStore(folder))
    (folder / "own").mkdir()
    (folder / "own" / "script.sh").write_text("")
    (folder / "own" / "script.sh").chmod(0o700)
    (folder / "link").symlink_to("nowhere")
    upload_bundle(better, FolderStore(folder))
    assert (folder / "own" / "script.sh").stat().st_mode & 0o777 == 0o700
    assert os.readlink(folder / "link") == "nowhere"


def test_files_of_an_earlier_export_that_a_new_one_lacks_go(bundle, better, tmp_path):
    folder = tmp_path / "out"
    upload_bundle(bundle, FolderStore(folder))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "client.int8.onnx").write_bytes(b"x")
    manifest["files"]["client.int8.onnx"] = {"sha256": hashlib.sha256(b"x").hexdigest(), "size": 1}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    upload_bundle(better, FolderStore(folder))
    assert not (folder / "client.int8.onnx").exists()


def test_a_link_to_a_folder_stays_one(bundle, better, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    for each in (bundle, better):
        upload_bundle(each, FolderStore(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink() and delta(FolderPlace(tmp_path / "disk")) == 2.0


def test_a_folder_that_cannot_be_replaced_is_refused_beforehand(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("os.path.ismount", lambda path: path == tmp_path / "disk")
    with pytest.raises(NarlError, match="cannot write to .*disk: it appears at once"):
        FolderStore(tmp_path / "disk").check(FILES)
    FolderStore(tmp_path / "disk" / "below").check(FILES)


def test_folder_that_cannot_be_made(tmp_path, bundle):
    (tmp_path / "file").write_text("")
    with pytest.raises(NarlError, match="cannot write to .*file"):
        upload_bundle(bundle, open_store(str(tmp_path / "file")))


def test_prefixes_do_not_see_each_other(s3_server, aws, bundle):
    place = S3Place(s3_server, "neighbours")
    place.s3.put_object(Bucket="neighbours", Key="models/bestiary", Body=b"")
    upload_bundle(bundle, place.store)


def message_of(url, bundle, **options):
    with pytest.raises(NarlError) as caught:
        upload_bundle(bundle, open_store(url, **options))
    message = str(caught.value)
    assert "\n" not in message
    assert "swordfish" not in message and "AKIA" not in message
    return message


def test_no_such_bucket(s3_server, aws, bundle):
    assert "no such bucket" in message_of("s3://missing-bucket/x", bundle, endpoint_url=s3_server)


def test_no_credentials(s3_server, aws, bundle, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "no AWS credentials" in message_of("s3://bucket/x", bundle, endpoint_url=s3_server)


def test_nobody_at_the_endpoint(aws, bundle):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        endpoint = f"http://ann:swordfish@127.0.0.1:{port}"
        message = message_of("s3://bucket/x", bundle, endpoint_url=endpoint)
    assert message == f"cannot export to s3://bucket/x: http://127.0.0.1:{port} cannot be reached"


# --- S3 ---


@pytest.fixture
def way(s3_server):
    with way_to(s3_server) as way:
        yield way


@pytest.fixture
def far(request, s3_server, aws, way, bundle):
    """A place with an export; the store's requests go `way`."""
    place = S3Place(s3_server, new_bucket(request), way.url)
    upload_bundle(bundle, place.store)
    way.seen.clear()
    return place


def sent(way):
    return [path.partition("?")[0].rpartition("/")[2] for path in way.seen if path.startswith(("PUT", "POST"))]


def test_the_pointer_comes_last_and_the_manifest_before_it(far, way, better):
    upload_bundle(better, far.store)
    assert sent(way)[-2:] == ["manifest.json", "current.json"] and len(sent(way)) == len(FILES) + 2


def test_the_same_bundle_again_sends_nothing(far, way, bundle):
    assert "0 of 5 files sent" in upload_bundle(bundle, far.store)
    assert sent(way) == []


def test_earlier_releases_are_kept_and_counted(far, bundle, better):
    assert "5 of 5 files sent; 1 other release kept there" in upload_bundle(better, far.store)
    assert "0 of 5 files sent; 1 other release kept there" in upload_bundle(bundle, far.store)
    assert delta(far) == 1.0  # one that was read before can be again


def test_an_export_of_an_earlier_version_stays_as_it_is(s3_place, bundle, better):
    for path in bundle.iterdir():
        s3_place.write(path.name, path.read_bytes())
    upload_bundle(better, s3_place.store)
    assert s3_place.read("metrics.json") == (bundle / "metrics.json").read_bytes() and delta(s3_place) == 2.0


@pytest.mark.parametrize("damage", ["shorter", "of the same size"])
def test_a_file_that_is_not_what_it_should_be_is_sent_again(far, bundle, damage):
    content = (bundle / "metrics.json").read_bytes()
    wrong = content[:-1] if damage == "shorter" else bytes(len(content))
    far.write(f"releases/{far.release()}/metrics.json", wrong)
    assert "1 of 5 files sent" in upload_bundle(bundle, far.store)
    assert delta(far) == 1.0


FAULTS = {
    "503": "answered SlowDown: Please reduce your request rate.",
    "reset": "cannot be reached",
    "expired": "these credentials have expired",
}


@pytest.mark.parametrize(
    ("broken", "fault"), [("server.safetensors", "reset"), ("manifest.json", "expired"), ("current.json", "503")]
)
def test_whatever_goes_wrong_on_the_way_leaves_the_earlier_release(far, way, better, broken, fault):
    way.fault = lambda method, path: fault if method == "PUT" and broken in path else None
    with pytest.raises(NarlError) as caught:
        upload_bundle(better, far.store)
    said = str(caught.value)
    assert said.startswith("cannot export to s3://") and FAULTS[fault] in said and "\n" not in said
    assert delta(far) == 1.0
    way.fault = lambda method, path: None
    upload_bundle(better, far.store)
    assert delta(far) == 2.0


def test_what_goes_wrong_once_is_tried_again(far, way, better):
    failed = []

    def once(method, path):
        if method == "PUT" and path not in failed:
            failed.append(path)
            return ("503", "reset")[len(failed) % 2]

    way.fault = once
    upload_bundle(better, far.store)
    assert len(failed) == len(FILES) + 2 and delta(far) == 2.0


def test_a_store_that_kept_only_a_part_is_not_pointed_to(far, better, monkeypatch):
    whole = far.store._sizes

    def short(below):
        return {name: size - (name == "metrics.json") for name, size in whole(below).items()}

    monkeypatch.setattr(far.store, "_sizes", short)
    with pytest.raises(NarlError, match=r"metrics\.json has 18 bytes there instead of 19"):
        upload_bundle(better, far.store)
    assert delta(far) == 1.0


EXPORTS = """
import sys
from narl.export.bundle import upload_bundle
from narl.export.stores import open_store
upload_bundle(sys.argv[1], open_store(sys.argv[2], endpoint_url=sys.argv[3]))
"""


@pytest.mark.parametrize("moment", ["manifest.json", "current.json"])
def test_an_upload_that_is_killed_leaves_the_earlier_release_and_its_files_are_used(far, way, better, moment):
    process = None

    def kill(method, path):
        if method == "PUT" and moment in path:
            process.kill()
            return "reset"

    way.fault = kill
    process = subprocess.Popen([sys.executable, "-c", EXPORTS, better, far.store.url, way.url])
    assert process.wait() == -signal.SIGKILL
    assert delta(far) == 1.0
    way.fault = lambda method, path: None
    there = set(far.names())
    way.seen.clear()
    upload_bundle(better, far.store)
    release = far.release()
    assert delta(far) == 2.0
    assert not {f"releases/{release}/{name}" for name in sent(way)} & there
    if moment == "current.json":
        assert sent(way) == ["current.json"]


def test_large_files_are_sent_in_parts(far, way, tmp_path):
    state = {"weight": torch.zeros(3 * 2**20)}
    write_bundle(tmp_path / "large", client_state=state, server_state={}, config=CONFIG, metrics={"delta": 3.0})
    upload_bundle(tmp_path / "large", far.store)
    assert sum("partNumber=" in path for path in way.seen) == 2
    assert delta(far) == 3.0
    assert "0 of 5" in upload_bundle(tmp_path / "large", far.store)


def test_objects_are_encrypted_as_asked(s3_place, s3_server, bundle):
    def heads():
        names = s3_place.names()
        return [s3_place.s3.head_object(Bucket=s3_place.bucket, Key=f"models/best/{name}") for name in names]

    address = parse_s3(f"s3://{s3_place.bucket}/models/best?endpoint_override={s3_server}", otherwise="")
    upload_bundle(bundle, S3Store(address, Encryption("AES256")))
    assert {head["ServerSideEncryption"] for head in heads()} == {"AES256"}
    by_key = S3Store(address, Encryption("aws:kms", "1234abcd-12ab-34cd-56ef-1234567890ab"))
    assert "5 of 5 files sent" in upload_bundle(bundle, by_key)  # again, as they are encrypted otherwise
    heads = [head for head in heads() if head.get("Metadata")]
    assert {head["ServerSideEncryption"] for head in heads} == {"aws:kms"}
    assert {head["SSEKMSKeyId"].rpartition("/")[2] for head in heads} == {"1234abcd-12ab-34cd-56ef-1234567890ab"}
    assert "0 of 5 files sent" in upload_bundle(bundle, by_key)
    with pytest.raises(ConfigError, match="a KMS key is for --sse aws:kms, got --sse AES256"):
        Encryption("AES256", "1234")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://bucket/x", "gs://"),
        ("s3://", "no bucket name"),
        ("s3://Bad_Bucket/x", "no bucket name"),
        ("", "got nothing"),
    ],
)
def test_addresses_that_name_no_store(url, message):
    with pytest.raises(ConfigError, match=message):
        open_store(url)


def test_endpoint_only_makes_sense_for_s3(tmp_path):
    with pytest.raises(ConfigError, match="is a folder"):
        open_store(str(tmp_path), endpoint_url="http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="http://"):
        open_store("s3://bucket", endpoint_url="127.0.0.1:9000")
