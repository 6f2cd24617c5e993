"""Secrets at rest: encrypted with AES-256-GCM under the newest of CREDENTIAL_KEYS, and bound to their owner.

A sealed text names its key, so keys can be rotated one after the other. It opens only for the owner that it was
sealed for, so a copy in another row is useless. A text that does not open raises; it is never returned as it is.
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
    """This sealed text is damaged, belongs to another owner, or its key is gone."""


def seal(secret: str, owner: str) -> str:
    """Seal `secret` for `owner`. Every call returns a different text."""
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
