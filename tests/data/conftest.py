from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from small_data import write_images

NUMBERS = itertools.count()


@pytest.fixture
def animals(tmp_path) -> Path:
    """A folder with eight cats and six dogs."""
    write_images(tmp_path / "animals" / "cat", 8, seed=1)
    write_images(tmp_path / "animals" / "dog", 6, seed=2)
    return tmp_path / "animals"


class Bucket:
    """A bucket of its own on a real server, and the keys that were fetched from it."""

    def __init__(self, server: str, gets: list[str]) -> None:
        import boto3

        self.s3 = boto3.client("s3", endpoint_url=server, region_name="us-east-1")
        self.name, self.gets, self.server = f"images-{next(NUMBERS)}", gets, server
        self.s3.create_bucket(Bucket=self.name)

    def url(self, prefix: str = "set") -> str:
        return f"s3://{self.name}/{prefix}?endpoint_override={self.server.removeprefix('http://')}&scheme=http"

    def put(self, key: str, content: bytes) -> None:
        self.s3.put_object(Bucket=self.name, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=self.name, Key=key)

    def put_folder(self, folder: Path, prefix: str = "set") -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())


@pytest.fixture
def bucket(s3_server, aws, monkeypatch) -> Bucket:
    from moto.s3.responses import S3Response

    gets: list[str] = []
    get_object = S3Response.get_object

    def counted(self):
        gets.append(self.key_name if hasattr(self, "key_name") else self.path)
        return get_object(self)

    monkeypatch.setattr(S3Response, "get_object", counted)
    return Bucket(s3_server, gets)
