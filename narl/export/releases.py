"""Exports on S3: each a release of its own, and one small object that says which is read.

PREFIX/releases/<16 hex digits>/…   a bundle's files, its manifest last; the digits begin the manifest's SHA-256
PREFIX/current.json                 the release that is read, and the whole SHA-256; replaced once that release is whole

So a reader never sees half an export, one that is repeated sends only what is missing, and none takes another one down.
Exports of narl 0.2 lie directly below PREFIX.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from narl.core.errors import ConfigError, NarlError
from narl.core.plural import counted
from narl.export.manifest import FORMAT, MANIFEST, refuse_foreign, sent_files
from narl.storage.s3 import S3Address, s3_client, s3_errors

CURRENT, RELEASES = "current.json", "releases/"
# Files at once, and parts of each.
FILES_AT_ONCE, PARTS_AT_ONCE = 4, 4
ATTEMPTS = 3


def pointer_to(manifest: bytes) -> dict[str, str]:
    """Make what CURRENT holds for a release of this manifest."""
    digest = hashlib.sha256(manifest).hexdigest()
    return {"format": FORMAT, "release": digest[:16], "manifest_sha256": digest}


@dataclass(frozen=True)
class Encryption:
    """How S3 is to encrypt what it stores, if not as the bucket says.

    Attributes:
        kind: `AES256` or `aws:kms`.
        key: of KMS; None: the account's own.
    """

    kind: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if self.key is not None and self.kind != "aws:kms":
            raise ConfigError(f"a KMS key is for --sse aws:kms, got --sse {self.kind or 'nothing'}")

    @property
    def arguments(self) -> dict[str, str]:
        given = {"ServerSideEncryption": self.kind, "SSEKMSKeyId": self.key}
        return {name: value for name, value in given.items() if value is not None}

    def holds_for(self, head: Mapping[str, Any]) -> bool:
        """Tell whether a stored object is encrypted so. A key is told by its id or ARN."""
        kind = self.kind is None or head.get("ServerSideEncryption") == self.kind
        return kind and (self.key is None or head.get("SSEKMSKeyId", "").endswith(self.key))


AS_THE_BUCKET_SAYS = Encryption()


class S3Store:
    """A prefix of a bucket, laid out as above."""

    def __init__(self, address: S3Address, encryption: Encryption = AS_THE_BUCKET_SAYS) -> None:
        self.bucket = address.bucket
        self.prefix = f"{address.prefix}/" if address.prefix else ""
        self.url = address.url
        self._address = address
        self._encryption = encryption
        with self._errors():
            self._s3 = s3_client(address, attempts=ATTEMPTS, connections=FILES_AT_ONCE * PARTS_AT_ONCE)

    def check(self, names: Collection[str]) -> None:
        with self._errors():
            self._earlier(names)

    def publish(self, folder: Path, manifest: Mapping[str, Any]) -> str:
        files = sent_files(folder, manifest)
        pointer = pointer_to((folder / MANIFEST).read_bytes())
        release = f"{RELEASES}{pointer['release']}/"
        own = {"sha256": pointer["manifest_sha256"], "size": (folder / MANIFEST).stat().st_size}
        with self._errors():
            earlier = self._earlier(files) - {release}
            stored = self._sizes(release)

            def send(name: str, expected: Mapping[str, Any]) -> bool:
                if self._is_stored(release + name, expected, stored.get(name)):
                    return False
                self._send(folder / name, release + name, expected["sha256"])
                return True

            sent = sum(at_once(lambda name: send(name, files[name]), files))
            sent += send(MANIFEST, own)
            arrived = self._sizes(release)
            for name, expected in {**files, MANIFEST: own}.items():
                if arrived.get(name) != expected["size"]:
                    raise NarlError(
                        f"cannot export to {self.url}: {release}{name} has {arrived.get(name, 0)} bytes there instead "
                        f"of {expected['size']}; what was read there before still is"
                    )
            self._point(pointer)
        kept = f"; {counted(len(earlier), 'other release')} kept there" if earlier else ""
        return f"release {pointer['release']}, {sent} of {counted(len(files) + 1, 'file')} sent{kept}"

    def _earlier(self, names: Collection[str]) -> set[str]:
        """List the releases there; refuse a prefix that holds something else."""
        top, below = self._names(""), self._names(RELEASES)
        refuse_foreign(
            self.url,
            [name for name in top if name != RELEASES]
            + [RELEASES + name for name in below if not re.fullmatch(r"[0-9a-f]{16}/", name)],
            names,
            self._read,
            CURRENT,
            MANIFEST,
        )
        return {RELEASES + name for name in below}

    def _names(self, below: str) -> set[str]:
        """Names directly below, those of folders with a slash at their end."""
        prefix, found = self.prefix + below, set()
        pages = self._s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/"):
            found |= {item["Key"] for item in page.get("Contents", [])}
            found |= {item["Prefix"] for item in page.get("CommonPrefixes", [])}
        # A server that knows no delimiter lists all.
        return {"".join(key.removeprefix(prefix).partition("/")[:2]) for key in found} - {""}

    def _sizes(self, below: str) -> dict[str, int]:
        prefix = self.prefix + below
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return {item["Key"].removeprefix(prefix): item["Size"] for page in pages for item in page.get("Contents", [])}

    def _is_stored(self, name: str, expected: Mapping[str, Any], size: int | None) -> bool:
        if size != expected["size"]:
            return False
        head = self._s3.head_object(Bucket=self.bucket, Key=self.prefix + name)
        return head.get("Metadata", {}).get("sha256") == expected["sha256"] and self._encryption.holds_for(head)

    def _read(self, name: str) -> bytes:
        return self._s3.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"].read()

    def _send(self, path: Path, name: str, sha256: str) -> None:
        from boto3.s3.transfer import TransferConfig

        self._s3.upload_file(
            str(path),
            self.bucket,
            self.prefix + name,
            ExtraArgs={"Metadata": {"sha256": sha256}, **self._encryption.arguments},
            Config=TransferConfig(max_concurrency=PARTS_AT_ONCE),
        )

    def _point(self, pointer: Mapping[str, str]) -> None:
        """Replace CURRENT, in one request."""
        content = json.dumps(pointer, indent=2).encode() + b"\n"
        if CURRENT in self._names("") and self._read(CURRENT) == content:
            return
        self._s3.put_object(Bucket=self.bucket, Key=self.prefix + CURRENT, Body=content, **self._encryption.arguments)

    def _errors(self) -> AbstractContextManager[None]:
        return s3_errors(f"export to {self.url}", self._address)


def at_once(function: Callable[[str], Any], names: Iterable[str]) -> list[Any]:
    """Call for several names at a time; the first error ends it, and no further call begins."""
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        try:
            return list(pool.map(function, names))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
