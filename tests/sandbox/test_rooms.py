"""Which room of the sandbox may import which. Imports inside functions count too."""

import pytest

from tests.rooms import PACKAGE, floors, imports_of, modules

SANDBOX = "b24app.sandbox"
ROOT = "root"  # the modules beside the rooms: what Django, gunicorn and `python -m` need

# From the bottom up. A room imports itself and the rows before its row; rooms of one row do not know each other.
ROWS = [
    {"portal"},
    {"app"},
    {"tasks"},
    {"weather"},
    {"wire"},
    {"methods", "oauth"},
    {"desktop", "control"},
    {ROOT},
]
FLOORS = {room: floor for floor, rooms in enumerate(ROWS) for room in rooms}


def room_of(name):
    """The room of a module or of an imported name; None if it is not part of the sandbox."""
    if name != SANDBOX and not name.startswith(f"{SANDBOX}."):
        return None
    part = name.removeprefix(SANDBOX).lstrip(".").partition(".")[0]
    return part if part in FLOORS else ROOT


def offences(module, imports):
    own = room_of(module)
    rooms = {name: room_of(name) for name in imports if room_of(name)}
    return [f"{module} imports {name}" for name, room in sorted(rooms.items()) if not may_import(own, room)]


def may_import(own, other):
    return own == other or FLOORS[other] < FLOORS[own]


SOURCES = [found for found in modules() if room_of(found[0])]


@pytest.mark.parametrize("module, source, is_package", SOURCES, ids=[found[0] for found in SOURCES])
def test_a_room_imports_lower_rooms_only(module, source, is_package):
    assert offences(module, imports_of(source, module, is_package)) == []


def test_every_folder_is_a_room():
    folders = {path.parent.name for path in (PACKAGE / "sandbox").glob("*/*.py")}
    assert folders == set(FLOORS) - {ROOT}


def test_the_root_has_only_entry_points():
    names = {path.stem for path in (PACKAGE / "sandbox").glob("*.py")}
    assert names == {"__init__", "__main__", "settings", "urls", "wsgi"}


@pytest.mark.parametrize("room", sorted(set(FLOORS) - {ROOT}))
def test_a_room_has_no_import_circle(room):
    sources = {name: source for name, source, is_package in SOURCES if room_of(name) == room and not is_package}
    assert floors({name: neighbours(name, source, sources) for name, source in sources.items()})


def neighbours(module, source, names):
    """The other modules among `names` that `module` imports, or from which it imports a name."""
    imports = imports_of(source, module)
    return (imports | {name.rpartition(".")[0] for name in imports}) & set(names) - {module}


@pytest.mark.parametrize(
    "module, line",
    [
        ("portal.models", "from ..tasks import rights"),
        ("portal.knobs", "from b24app.sandbox.weather import modes"),
        ("tasks.rights", "from ..wire import php"),
        ("app.events", "def f():\n    from ..tasks.actions import perform"),
        ("weather.faults", "from ..control import interface"),
        ("wire.rest", "import b24app.sandbox.methods.tasks"),
        ("methods.app", "from ..oauth import grants"),
        ("desktop.cards", "from ..control import watch"),
        ("control.watch", "from ..desktop import words"),
        ("control.watch", "from .. import settings"),
    ],
)
def test_a_planted_offence_is_seen(module, line):
    module = f"{SANDBOX}.{module}"
    assert offences(module, imports_of(line, module))


@pytest.mark.parametrize(
    "module, line",
    [
        ("tasks.actions", "from ..app import events\nfrom . import rights"),
        ("control.app", "from ..oauth.codes import issue_code\nfrom ..portal import clock"),
        ("urls", "from .control import interface\nfrom . import methods"),
    ],
)
def test_what_is_allowed_passes(module, line):
    module = f"{SANDBOX}.{module}"
    assert offences(module, imports_of(line, module)) == []
