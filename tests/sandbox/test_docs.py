"""The control examples in docs/sandbox.md work, and every verb has one."""

import json
import re
from pathlib import Path

import pytest
import requests

from tests.sandbox_client import Sandbox

DOCUMENT = Path(__file__).parents[2] / "docs" / "sandbox.md"


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    sandbox = Sandbox.start(tmp_path_factory.mktemp("documented"), ("acme", "umbrella", "oldbox"), seed="demo")
    yield sandbox
    sandbox.stop()


def examples():
    found = re.findall(r"^ask (\w+) '(.*)'$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(found) > 30
    return [(verb, json.loads(body)) for verb, body in found]


def test_the_examples_work_in_order(box):
    for verb, body in examples():
        box.control(verb, **body)


def test_every_verb_has_an_example(box):
    refused = requests.post(f"http://{box.oauth}/control/nothing", json={}, timeout=10)
    assert refused.status_code == 404
    verbs = refused.json()["error"].partition("There are: ")[2].split(", ")
    assert sorted(verbs) == sorted({verb for verb, _ in examples()})
