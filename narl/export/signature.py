"""Who made a bundle: a signature over all of its files, made and checked with keys of files; nothing goes over a network.

`model.sig` lies beside the manifest, which names it under `signature`. It signs the manifest and every file that the
manifest lists (their SHA-256), in the format of OpenSSF's `model_signing`, whose own command checks it too. That package
is the extra `narl[signing]`; it takes two seconds to import.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

from narl.core.errors import ConfigError
from narl.export.bundle import verify_bundle
from narl.export.manifest import MANIFEST, SIGNATURE, write_manifest
from narl.export.noise_check import Check

_KEY = "of an elliptic curve (P-256, P-384 or P-521) as PEM"


class Signer:
    """Signs bundles.

    Args:
        key: a private key in PEM, of an elliptic curve.
        password: tells the key's password; asked only if it has one.

    Raises:
        ConfigError: there is no such key, its password is another, or `narl[signing]` is not installed.
    """

    def __init__(self, key: Path, password: Callable[[], bytes]) -> None:
        opened = partial(_package().signing.Config().use_elliptic_key_signer, private_key=key)
        try:
            self._config = opened()
        except OSError as error:
            raise ConfigError(f"cannot read the key {key}: {error.strerror or error}") from error
        except TypeError:  # the library's word for a key that has a password
            self._config = _unlocked(opened, key, password())
        except Exception as error:  # whatever a file that is no key makes of the library
            raise ConfigError(f"{key} is not a private key {_KEY}") from error

    def sign(self, folder: Path) -> None:
        """Write the signature of the bundle in `folder`, which holds nothing else, after a word of it in the manifest."""
        manifest = verify_bundle(folder)
        about = {name: value for name, value in manifest.items() if name != "files"}
        write_manifest(folder, {**about, "signature": SIGNATURE}, manifest["files"])
        self._config.set_hashing_config(_hashing([SIGNATURE])).sign(folder, folder / SIGNATURE)


def check_signature(folder: Path, public_key: Path) -> Check:
    """Check that all of a bundle was signed by the owner of a key. Files that its manifest does not list do not count.

    Args:
        public_key: PEM.

    Raises:
        NarlError: the bundle is damaged, whoever signed it.
        ConfigError: `public_key` is none, or `narl[signing]` is not installed.
    """
    names = {*verify_bundle(folder)["files"], MANIFEST}
    verifying = _package().verifying
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except OSError as error:
        raise ConfigError(f"cannot read the key {public_key}: {error.strerror or error}") from error
    except Exception as error:
        raise ConfigError(f"{public_key} is not a public key {_KEY}") from error
    path = folder / SIGNATURE
    if not path.is_file() or path.is_symlink():
        return Check("signature", False, f"there is no {SIGNATURE}")
    others = {each.name for each in folder.iterdir()} - names
    try:
        config.set_hashing_config(_hashing(others)).verify(folder, path)
        signed = _signed(path)
    except Exception as error:  # whatever a stranger's file makes of the library; its texts have several lines
        files = "Signature mismatch" in str(error)
        why = "files are not those that were signed" if files else f"not made with the key of {public_key}"
        return Check("signature", False, why)
    # One of the key's signatures of something else must not count for what that left out.
    if signed != names:
        return Check("signature", False, f"it is not of this bundle's {len(names)} files")
    return Check("signature", True, f"{len(names)} files, made with the key of {public_key}")


def _unlocked(opened: Callable[..., Any], key: Path, password: bytes) -> Any:
    try:
        return opened(password=password)
    except Exception as error:  # whatever a wrong password makes of the library
        raise ConfigError(f"cannot open {key}: the password is wrong, or it is no private key {_KEY}") from error


def _signed(path: Path) -> set[str]:
    """Names of what a signature, which was checked, is of."""
    payload = json.loads(base64.b64decode(json.loads(path.read_bytes())["dsseEnvelope"]["payload"]))
    return {each["name"] for each in payload["predicate"]["resources"]}


def _hashing(ignored: Collection[str]) -> Any:
    return _package().hashing.Config().set_ignored_paths(paths=ignored, ignore_git_paths=False)


def _package() -> Any:
    try:
        import model_signing
    except ImportError as error:
        raise ConfigError(
            f"signatures need a package that is not installed ({error.name}): pip install 'narl[signing]'"
        ) from error
    return model_signing
