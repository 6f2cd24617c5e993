import pytest


@pytest.fixture
def opening(sandbox):
    """Open the app as somebody, as POST fields and query: `opening(user)`."""

    def open(user, **placement):
        return sandbox.open("acme", user, **placement)

    return open


OPEN = """
import json, sys
from b24app import portals
from b24app.bitrix.client import Command
from b24app.bitrix.payloads import read_opening
opening = json.loads({opening!r})
portals.open_page(read_opening(opening["query"], opening["fields"]), Command("a", "user.admin"), timeout=10)
"""


@pytest.fixture
def bob(sandbox, app):
    """An employee of acme who has opened the app once."""
    import json

    number = sandbox.user("acme", name="Bob")
    sandbox.install("acme")
    app.python(OPEN.format(opening=json.dumps(sandbox.open("acme", number))))
    return number
