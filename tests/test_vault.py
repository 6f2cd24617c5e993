"""Secrets at rest: who can open them, and with which keys."""

import pytest
from cryptography.fernet import Fernet

from b24app import vault


def test_a_secret_opens_for_its_owner():
    sealed = vault.seal("s3cret", "acme:5")
    assert "s3cret" not in sealed
    assert vault.unseal(sealed, "acme:5") == "s3cret"


def test_each_sealed_text_is_different():
    assert vault.seal("s3cret", "acme:5") != vault.seal("s3cret", "acme:5")


def test_a_copied_text_does_not_open():
    with pytest.raises(vault.NotOurs):
        vault.unseal(vault.seal("s3cret", "acme:5"), "acme:6")


def test_a_damaged_text_does_not_open():
    name, body = vault.seal("s3cret", "acme:5").split(".")
    with pytest.raises(vault.NotOurs):
        vault.unseal(f"{name}.{body[:-8]}AAAAAAA=", "acme:5")


def test_old_keys_open_and_the_newest_seals(settings):
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.CREDENTIAL_KEYS = [old]
    sealed = vault.seal("s3cret", "acme:5")
    settings.CREDENTIAL_KEYS = [new, old]
    assert vault.unseal(sealed, "acme:5") == "s3cret"
    assert vault.seal("s3cret", "acme:5").split(".")[0] != sealed.split(".")[0]


def test_a_missing_key_is_an_error(settings):
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    sealed = vault.seal("s3cret", "acme:5")
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(vault.NotOurs):
        vault.unseal(sealed, "acme:5")


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_cut_text_does_not_open(cut):
    with pytest.raises(vault.NotOurs):
        vault.unseal(vault.seal("secret", "owner")[:-cut], "owner")
