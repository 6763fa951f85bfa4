"""S3 and compatible servers: addresses, a client for them, and what went wrong in one line without a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from narl.core.addresses import shown, without_credentials
from narl.core.errors import ConfigError, NarlError, shortened, unknown_name

OPTIONS = ("endpoint_override", "scheme", "region")
IN_THE_ENVIRONMENT = ": credentials belong in the environment, not in an address"


@dataclass(frozen=True)
class S3Address:
    """`s3://bucket/prefix`, with `?endpoint_override=HOST:PORT&scheme=http` if the server is not AWS's.

    The query is the one that PyArrow and so Ray take in a storage path. Without it AWS_ENDPOINT_URL holds.

    Attributes:
        prefix: without slashes at its ends.
        endpoint: `http://host:port`, or None.
    """

    bucket: str
    prefix: str
    endpoint: str | None = None
    region: str | None = None

    @property
    def url(self) -> str:
        """For messages; without the query."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def is_url(place: str) -> bool:
    """Tell whether a place begins as a URL does and is not a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", place) is not None


def parse_s3(url: str, otherwise: str) -> S3Address:
    """Parse the address in a URL; nothing is contacted.

    Args:
        otherwise: what else would have been legal, for messages.

    Raises:
        ConfigError: another kind of URL, no bucket name, or options that are none.
    """
    scheme = url.partition("://")[0]
    if scheme != "s3":
        raise ConfigError(unknown_name("kind of store", f"{scheme}://", ("s3://bucket/prefix", otherwise)))
    place, _, query = url.removeprefix("s3://").partition("?")
    bucket, _, prefix = place.partition("/")
    if "@" in bucket or ":" in bucket:
        raise ConfigError(f"s3://…{IN_THE_ENVIRONMENT}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
        raise ConfigError(f"{bucket!r} is no bucket name: expected s3://bucket/prefix")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in OPTIONS:
            raise ConfigError(f"s3://{bucket}: {unknown_name('option', name, OPTIONS)}")
    endpoint = options.get("endpoint_override")
    if endpoint is not None:
        if not is_url(endpoint):
            endpoint = f"{options.get('scheme', 'https')}://{endpoint}"
        check_endpoint(endpoint)
        if "@" in endpoint or "?" in endpoint:  # addresses are kept in search spaces and shown in MLflow
            raise ConfigError(f"s3://{bucket}{IN_THE_ENVIRONMENT}")
    return S3Address(bucket, prefix.strip("/"), endpoint, options.get("region"))


def address_of(place: str, endpoint_url: str | None) -> S3Address | None:
    """Parse what is an `s3://bucket/prefix` or a folder, which gives None.

    Args:
        endpoint_url: of an S3 server other than AWS.

    Raises:
        ConfigError: a URL that names no bucket, or an endpoint that is none or is given with a folder.
    """
    if is_url(place):
        address = parse_s3(place, otherwise="a folder")
        if endpoint_url is None:
            return address
        check_endpoint(endpoint_url)
        return replace(address, endpoint=endpoint_url)
    if endpoint_url is not None:
        raise ConfigError(f"an endpoint is for s3://bucket/prefix, and {shown(place)!r} is a folder")
    return None


def check_endpoint(endpoint: str) -> None:
    """
    Raises:
        ConfigError: not an http:// or https:// address.
    """
    if urlsplit(endpoint).scheme not in ("http", "https"):
        raise ConfigError(f"endpoint must begin with http:// or https://, got {shown(endpoint)!r}")


def s3_client(address: S3Address, *, attempts: int = 2, connections: int = 10) -> Any:
    """Make a client; credentials come from where AWS tools look for them.

    Args:
        attempts: at each request, the first included.
        connections: kept open at once.
    """
    import boto3
    from botocore.config import Config

    # boto3's own defaults wait a minute, five times, for an endpoint that is not there, and send checksums that other
    # makers' servers refuse; what narl stores has digests of its own.
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        max_pool_connections=connections,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = boto3.Session()
    return session.client("s3", endpoint_url=address.endpoint, region_name=address.region, config=config)


@contextmanager
def s3_errors(what: str, address: S3Address, raised: type[NarlError] = NarlError) -> Iterator[None]:
    """Turn what S3 and the disk raise inside into `raised`: "cannot `what`: why"."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError, OSError, ValueError) as error:
        raise raised(f"cannot {what}: {_explain(error, address)}") from error


def is_unreachable(error: NarlError) -> bool:
    """Tell whether an error of `s3_errors` says that nobody answered, rather than what the server answered."""
    from botocore import exceptions

    return isinstance(error.__cause__, (exceptions.ConnectionError, exceptions.HTTPClientError))


def _explain(error: Exception, address: S3Address) -> str:
    """One line, built from what is known to be no secret."""
    from boto3.exceptions import Boto3Error
    from botocore import exceptions

    while isinstance(error, Boto3Error) and error.__context__ is not None:
        error = error.__context__  # upload_file wraps what happened in an error of its own
    error = getattr(error, "last_exception", error)  # of a download that was tried again and again
    if isinstance(error, exceptions.ClientError):
        code = error.response.get("Error", {}).get("Code", "unknown error")
        known = {
            "NoSuchBucket": "there is no such bucket",
            "404": "it is not there",
            "NoSuchKey": "it is gone",
            "412": "it was changed meanwhile",
            "PreconditionFailed": "it was changed meanwhile",
            "AccessDenied": "these credentials have no right to it",
            "403": "these credentials have no right to it",
            "InvalidAccessKeyId": "these credentials are not known there",
            "SignatureDoesNotMatch": "these credentials are not valid there",
            "ExpiredToken": "these credentials have expired",
        }
        said = shortened(" ".join(without_credentials(error.response.get("Error", {}).get("Message", "")).split()))
        answered = f"{_endpoint_in_use(address)} answered {code}" + (f": {said}" if said else "")
        return f"{known[code]} ({answered})" if code in known else answered
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return "no AWS credentials found (set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile)"
    if isinstance(error, (exceptions.IncompleteReadError, exceptions.ResponseStreamingError)):
        return f"what {_endpoint_in_use(address)} answered broke off"
    if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
        return f"{_endpoint_in_use(address)} cannot be reached"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _endpoint_in_use(address: S3Address) -> str:
    """Whose server that is: the address may say so, a variable, or AWS's configuration file."""
    try:
        return shown(s3_client(address).meta.endpoint_url)
    except ValueError:  # one that is not legal
        return shown(address.endpoint) if address.endpoint else "the endpoint"
