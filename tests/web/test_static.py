"""Static files have a hash in their names; modules and pages refer to these names."""

import json
import re

import pytest
from django.core.management import call_command

from tests.web.test_pages import SCRIPTS

IMPORT = re.compile(r"""\bimport\b[^'"]*['"]\./([^'"]+)['"]""")
MODULES = [path for path in SCRIPTS if path.name != "app.js"]


@pytest.fixture
def collected(settings, tmp_path):
    """The folder that `collectstatic` has filled, and the new name of each file."""
    settings.STATIC_ROOT = tmp_path
    storage = {"BACKEND": "b24app.web.storage.HashedStaticFiles"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": storage}
    call_command("collectstatic", "--noinput", verbosity=0)
    return tmp_path, json.loads((tmp_path / "staticfiles.json").read_text())["paths"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_hashed_modules_import_hashed_ones(collected, script):
    folder, names = collected
    imported = IMPORT.findall((folder / names[script.name]).read_text())
    assert imported == [names[name] for name in IMPORT.findall(script.read_text())]
    assert all((folder / name).is_file() for name in imported)


def test_the_entry_reaches_every_module():
    reached, found = set(), {"app.js"}
    while found - reached:
        (name, *_) = found - reached
        reached.add(name)
        found |= {other for path in SCRIPTS if path.name == name for other in IMPORT.findall(path.read_text())}
    assert reached == {path.name for path in SCRIPTS}


def test_a_page_uses_hashed_module_names(collected, bob):
    _, names = collected
    text = bob.open().text
    preloaded = re.findall(r'<link rel="modulepreload" href="/static/([^"]+)">', text)
    assert preloaded == [names[path.name] for path in MODULES]
    assert f'<script src="/static/{names["app.js"]}" type="module">' in text
