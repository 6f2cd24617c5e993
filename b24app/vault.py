"""Secrets at rest: sealed with AES-256-GCM under the newest of CREDENTIAL_KEYS, and bound to their owner.

A sealed text names its key, so that keys can be exchanged one after the other, and opens only for the owner
it was sealed for: copied into another row it is worthless. Whatever does not open raises; nothing is ever
returned unopened.
"""

import base64
import hashlib
import os
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

NONCE_SIZE = 12  # bytes


class NotOurs(Exception):
    """This sealed text was damaged, belongs to somebody else, or its key is gone."""


def seal(secret: str, owner: str) -> str:
    """`secret` sealed for `owner`; every call gives another text."""
    key_name, key = next(iter(_keys().items()))
    nonce = os.urandom(NONCE_SIZE)
    sealed = key.encrypt(nonce, secret.encode(), owner.encode())
    return f"{key_name}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"


def unseal(sealed: str, owner: str) -> str:
    """The secret that was sealed for `owner`. Raises NotOurs."""
    key_name, _, body = sealed.partition(".")
    key = _keys().get(key_name)
    if key is None:
        raise NotOurs(f"no key {key_name!r} in CREDENTIAL_KEYS")
    try:
        raw = base64.urlsafe_b64decode(body)
        return key.decrypt(raw[:NONCE_SIZE], raw[NONCE_SIZE:], owner.encode()).decode()
    except (InvalidTag, ValueError):
        raise NotOurs("sealed for another owner, or damaged") from None


def _keys() -> dict[str, AESGCM]:
    """Name to key, newest first."""
    return _parsed(tuple(settings.CREDENTIAL_KEYS))


@cache
def _parsed(keys: tuple[str, ...]) -> dict[str, AESGCM]:
    raw = [base64.urlsafe_b64decode(key) for key in keys]
    return {hashlib.sha256(key).hexdigest()[:8]: AESGCM(key) for key in raw}
