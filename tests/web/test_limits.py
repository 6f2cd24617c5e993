"""What comes in: bodies are limited before they are read, and clients are told apart by their address."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import RequestFactory

from b24app.portals.throttle import network_of
from b24app.web.tickets import client_address

LIMIT = 256 * 1024


class Untouched:
    """A body that the app must not read."""

    def read(self, *args):
        raise AssertionError("the body was read")

    readline = read


@pytest.mark.parametrize(
    "path", ["/events/", "/placement/", "/install/", "/opening/", "/selections/", "/", "/nowhere/"]
)
@pytest.mark.parametrize("size", [LIMIT + 1, 400 * 1024 * 1024, 10**30])
def test_a_large_body_is_refused_unread(client, path, size):
    answer = client.post(path, CONTENT_LENGTH=str(size), **{"wsgi.input": Untouched()})
    assert (answer.status_code, answer.text) == (413, "The request is too large.")


@pytest.mark.parametrize("length", ["-1", "abc", "²", "1e3"])
def test_a_garbled_length_is_refused(client, length):
    assert client.post("/events/", CONTENT_LENGTH=length, **{"wsgi.input": Untouched()}).status_code == 400


def test_a_file_is_never_stored(client, tmp_path, settings, db):
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    file = SimpleUploadedFile("file.bin", b"x" * 200_000)
    assert client.post("/events/", {"event": "ONAPPUNINSTALL", "file": file}).status_code == 400
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "hop, address",
    [
        ("2.2.2.2", "2.2.2.2"),
        ("2.2.2.2:4711", "2.2.2.2"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("[fe80::1%eth0]:443", "fe80::1%eth0"),
    ],
)
def test_every_form_of_an_address_is_read(settings, hop, address):
    settings.PROXY_COUNT = 1
    request = RequestFactory().get("/", headers={"X-Forwarded-For": f"9.9.9.9, {hop}"})
    assert client_address(request) == address


@pytest.mark.parametrize(
    "address, network",
    [
        ("2.2.2.2", "2.2.2.2"),
        ("::ffff:2.2.2.2", "2.2.2.2"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:", "unknown"),
        ("", "unknown"),
    ],
)
def test_failures_count_per_network(address, network):
    assert network_of(address) == network
