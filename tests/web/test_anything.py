"""No request to a public address gets a 500."""

import string

import pytest
from django.utils.http import urlencode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from b24app.bitrix.errors import CredentialRefused
from b24app.models import FailedOpening

ADDRESSES = [
    *("/", "/placement/", "/opening/", "/ticket/", "/install/", "/install/scope/", "/install/bind/", "/events/"),
    *("/oauth/start/", "/tasks/", "/selections/", "/jobs/", "/jobs/latest/", "/jobs/1/", "/jobs/1/undo/"),
    *("/orphans/adopt/", "/healthz"),
]
ODD_ADDRESSES = ["https://[", "https://a]b/", "https://ⅰ℀.com/", "//", "https://oauth.example:99999/", "https://x:y@z/"]
ODD_JSON = [
    "[" * 4_000,
    '{"a":' * 2_000,
    '{"ID": ' + "9" * 5_000 + "}",
    '{"ID": "²"}',
    "undefined",
    '{"ID": true}',
    "\0",
]
ODD_NUMBERS = ["²", "٣", "9" * 30, "9" * 5_000, "-1", "1e9", "0x1", "", " 7"]
HOSTILE = [*ODD_ADDRESSES, *ODD_JSON, *ODD_NUMBERS, "\0", "a" * 300, "<script>", "'\"", "\ud7ff", "%00", "../../etc"]
NAMES = [
    *("AUTH_ID", "REFRESH_ID", "AUTH_EXPIRES", "member_id", "SERVER_ENDPOINT", "APPLICATION_TOKEN", "PLACEMENT"),
    *("PLACEMENT_OPTIONS", "DOMAIN", "PROTOCOL", "LANG", "APP_SID", "code", "state", "domain", "error"),
    *("event", "auth[member_id]", "auth[application_token]", "data[CLEAN]", "ids", "excluded", "everything", "total"),
    *("selection", "key", "reason", "page", "owner", "project", "task", "sort", "title", "announced", "shown"),
]
GOOD = {"AUTH_ID": "a" * 30, "REFRESH_ID": "r" * 30, "member_id": "m" * 32, "AUTH_EXPIRES": "3600"}
VALUES = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40), st.text(alphabet=string.printable, max_size=40))
FIELDS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)

pytestmark = pytest.mark.django_db


@pytest.fixture
def visitor(client, monkeypatch):
    """A client that returns error pages instead of raising. The app sends no message and no request."""
    client.raise_request_exception = False
    monkeypatch.setattr("b24app.worker.messages.send", lambda *args, **kwargs: True)
    return client


def ask(visitor, method, address, query, form):
    target = f"{address}?{urlencode(query)}"
    return visitor.post(target, form) if method == "POST" else visitor.get(target)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST"]),
    address=st.sampled_from(ADDRESSES),
    query=FIELDS,
    form=FIELDS,
    good=st.booleans(),
)
def test_no_request_ends_in_a_500(visitor, method, address, query, form, good):
    answer = ask(visitor, method, address, query, {**(GOOD if good else {}), **form})
    assert answer.status_code < 500, answer.content[:500]


@pytest.mark.parametrize("path", ["/", "/placement/", "/install/", "/ticket/"])
def test_huge_options_are_refused(visitor, path):
    answer = visitor.post(path, {**GOOD, "PLACEMENT_OPTIONS": "[" * 50_000})
    assert answer.status_code == (401 if path == "/ticket/" else 400)


@pytest.mark.parametrize("path", ["/", "/placement/", "/install/", "/ticket/"])
@pytest.mark.parametrize("field", [{"SERVER_ENDPOINT": "https://["}, {"PLACEMENT_OPTIONS": "[" * 4_000}])
def test_an_odd_forgery_is_refused_and_counted(visitor, monkeypatch, path, field):
    def unknown(server, token, portal):
        raise CredentialRefused("invalid_token")

    monkeypatch.setattr("b24app.portals.credentials.token_info", unknown)
    assert visitor.post(path, {**GOOD, **field}).status_code == (401 if path == "/ticket/" else 403)
    assert FailedOpening.objects.count() == 1
