"""Who may import whom. docs/architecture.md shows the tables below as pictures."""

import pytest

from tests.rooms import MOST_FLOORS, PACKAGE, arrows, floors, imports_of, modules, room_of

# From the top down: a room may import its own cell and the rows below. Cells of one row do not import each other.
ROWS = [
    [{"settings"}, {"web", "worker", "management", "urls", "wsgi", "celery", "apps", "checks"}],
    [{"engine"}],
    [{"portals"}],
    [{"models", "clock", "vault", "languages", "environment", "failpoints", "migrations"}, {"bitrix"}],
]
# Inside a room, from the top down: a module imports only rows below its own.
INSIDE = {
    "engine": [
        {"slices"},
        {"batches"},
        {"jobs", "queue"},
        {"selections"},
        {"deferring", "returning", "saving"},
        {"outcomes", "deferrals", "budget", "choosing"},
    ],
    "portals": [
        {"installation", "connecting", "uninstall", "throttle"},
        {"openings"},
        {"people"},
        {"clients"},
        {"credentials"},
        {"access", "outgoing"},
        {"lease", "gate"},
    ],
}
# Libraries that only some rooms may import: rules never send messages, and all requests leave from one room.
RESERVED = {
    "celery": {"celery", "worker"},
    "kombu": {"celery", "worker"},
    "requests": {"bitrix"},
    "requests_oauthlib": {"bitrix"},
    "oauthlib": {"bitrix"},
    "urllib3": {"bitrix"},
}

PLACES = {name: (row, cell) for row, cells in enumerate(ROWS) for cell, names in enumerate(cells) for name in names}
STEPS = {(room, name): row for room, rows in INSIDE.items() for row, names in enumerate(rows) for name in names}


def forbidden_imports(module, imports):
    """The forbidden imports of `module`, as sentences."""
    return [f"{module} imports {name}" for name in sorted(imports) if is_forbidden(module, name)]


def is_forbidden(module, name):
    own, other = room_of(module), room_of(name)
    if own == "sandbox":
        return is_ours(name) and other != "sandbox"
    if is_ours(name):
        return not may_import(own, other) or (own == other and is_uphill(own, module, name))
    library = name.partition(".")[0]
    if own == "bitrix" and library == "django":
        return True
    return own not in RESERVED.get(library, {own})


def is_ours(name):
    return name.partition(".")[0] == "b24app"


def may_import(own, other):
    if own not in PLACES or other not in PLACES:
        return False
    (row, cell), (other_row, other_cell) = PLACES[own], PLACES[other]
    return other_row > row or (other_row, other_cell) == (row, cell)


def is_uphill(room, module, name):
    """True if a module imports another module of its room that is not in a row below."""
    mine, theirs = module.split(".")[2:3], name.split(".")[2:3]
    if room not in INSIDE or not mine or not theirs or mine == theirs:
        return False
    return STEPS.get((room, *theirs), -1) <= STEPS[room, *mine]


@pytest.mark.parametrize("module, source, is_package", [pytest.param(*found, id=found[0]) for found in modules()])
def test_modules_import_only_rows_below(module, source, is_package):
    assert forbidden_imports(module, imports_of(source, module, is_package)) == []


def test_every_room_has_a_row():
    assert {room_of(module) for module, _, _ in modules()} - {"", "sandbox"} <= set(PLACES)


@pytest.mark.parametrize("room", INSIDE)
def test_every_module_has_a_step(room):
    names = {module.split(".")[2] for module, _, _ in modules() if module.startswith(f"b24app.{room}.")}
    assert names <= {name for own, name in STEPS if own == room}


@pytest.mark.parametrize("package", ["", "engine", "portals", "web", "worker"])
def test_packages_import_nothing(package):
    assert (PACKAGE / package / "__init__.py").read_text().count("import") == 0


def test_there_are_at_most_seven_floors():
    assert max(floors(arrows()).values()) <= MOST_FLOORS


def test_a_circle_is_found():
    with pytest.raises(ValueError, match="a -> b -> a"):
        floors({"a": {"b"}, "b": {"a"}})


@pytest.mark.parametrize(
    "module, line",
    [
        ("b24app.bitrix.client", "from b24app.models import Portal"),
        ("b24app.bitrix.client", "from ..models import Portal"),
        ("b24app.bitrix.client", "from .. import models"),
        ("b24app.bitrix.client", "from django.conf import settings"),
        ("b24app.bitrix.client", "def f():\n    from b24app import models"),
        ("b24app.bitrix.client", "import importlib\nimportlib.import_module('b24app.models')"),
        ("b24app.models.job", "from b24app.bitrix import tasks"),
        ("b24app.models.portal", "import b24app.portals.lease"),
        ("b24app.portals.openings", "from b24app.engine import jobs"),
        ("b24app.portals.clients", "from b24app.portals import openings"),
        ("b24app.portals.access", "from b24app.portals.outgoing import journal"),
        ("b24app.engine.selections", "from b24app.engine.jobs import start"),
        ("b24app.engine.outcomes", "from . import deferring"),
        ("b24app.engine.slices", "from b24app.worker import messages"),
        ("b24app.engine.deferrals", "from celery import shared_task"),
        ("b24app.web.active", "import requests"),
        ("b24app.web.active", "from b24app.sandbox import models"),
        ("b24app.web.active", "from b24app import settings"),
        ("b24app.web.active", "from b24app import unheard_of"),
        ("b24app.sandbox.wire.rest", "from b24app.bitrix import tasks"),
        ("b24app.sandbox.wire.rest", "from ...models import Portal"),
    ],
)
def test_a_forbidden_import_is_found(module, line):
    assert forbidden_imports(module, imports_of(line, module))


@pytest.mark.parametrize(
    "module, line",
    [
        ("b24app.web.active", "from b24app.engine import jobs\nfrom b24app.worker import messages"),
        ("b24app.web.active", "from .tickets import ticketed"),
        ("b24app.engine.deferring", "from b24app.bitrix.tasks import Act\nfrom b24app.models import JobItem"),
        ("b24app.engine.slices", "from b24app.engine import batches\nfrom b24app.portals.lease import Lease"),
        ("b24app.worker.messages", "from celery import shared_task"),
        ("b24app.sandbox.wire.rest", "from ..portal.models import Portal\nfrom . import php"),
        ("b24app.sandbox.methods.tasks", "from ..portal.models import Portal"),
    ],
)
def test_what_is_allowed_passes(module, line):
    assert forbidden_imports(module, imports_of(line, module)) == []
