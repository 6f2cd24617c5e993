"""Who may import whom. The table below is the picture in the README; imports inside functions count too."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "b24app"

# From the top down: a module may import its own row and what stands below. In one row of several cells, cells do
# not know each other.
ROWS = [
    [{"settings"}, {"celery", "broker", "wsgi", "urls", "apps", "checks", "web", "jobs", "canary", "management"}],
    [{"slices"}],
    [{"batches"}],
    [{"deferrals"}],
    [{"selections"}],
    [{"returns"}],
    [{"steps"}],
    [{"attempts"}],
    [{"portals"}, {"removals"}],
    [{"credentials"}],
    [{"exchanges"}],
    [{"refusals"}],
    [{"models", "vault", "dates", "failpoints", "migrations"}, {"bitrix"}],
]
PLACES = {name: (row, cell) for row, cells in enumerate(ROWS) for cell, names in enumerate(cells) for name in names}

# Libraries that only some may touch: the rules never enqueue, and there is one way out of the process.
RESERVED = {
    "celery": {"celery", "jobs", "canary"},
    "kombu": {"celery", "broker", "jobs", "canary"},
    "requests": {"bitrix"},
    "requests_oauthlib": {"bitrix"},
    "oauthlib": {"bitrix"},
    "urllib3": {"bitrix"},
}


def imports_of(source, module, is_package=False):
    """Absolute names of all that `source` imports, wherever in the file."""
    package = module if is_package else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
            found |= {word.value for word in node.args if isinstance(word, ast.Constant)}
    return found


def called(node):
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def offences(module, imports):
    """What `module` imports and must not, as sentences."""
    own = module.split(".")[1] if "." in module else ""
    if own == "sandbox":
        return [f"{module} imports {name}" for name in imports if is_ours(name) and part(name) != "sandbox"]
    return [f"{module} imports {name}" for name in sorted(imports) if is_forbidden(own, name)]


def is_forbidden(own, name):
    if is_ours(name):
        return part(name) not in PLACES or not may_import(own, part(name))
    library = name.partition(".")[0]
    if own == "bitrix":
        return library == "django"
    return own not in RESERVED.get(library, {own})


def is_ours(name):
    return name.partition(".")[0] == "b24app"


def part(name):
    return name.split(".")[1] if "." in name else ""


def may_import(own, other):
    (row, cell), (other_row, other_cell) = PLACES[own], PLACES[other]
    return other_row > row or (other_row, other_cell) == (row, cell)


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        words = path.relative_to(PACKAGE.parent).with_suffix("").parts
        is_package = words[-1] == "__init__"
        yield ".".join(words[:-1] if is_package else words), path.read_text(), is_package


@pytest.mark.parametrize("module, source, is_package", [pytest.param(*found, id=found[0]) for found in modules()])
def test_a_module_imports_only_what_stands_below_it(module, source, is_package):
    assert offences(module, imports_of(source, module, is_package)) == []


def test_every_module_has_a_place():
    names = {module.split(".")[1] for module, _, _ in modules() if "." in module}
    assert names - {"sandbox"} <= set(PLACES)


def test_the_package_itself_imports_nothing():
    assert (PACKAGE / "__init__.py").read_text() == ""


@pytest.mark.parametrize(
    "module, line",
    [
        ("b24app.bitrix.client", "from b24app.models import Portal"),
        ("b24app.bitrix.client", "from ..models import Portal"),
        ("b24app.bitrix.client", "from .. import models"),
        ("b24app.bitrix.client", "from django.conf import settings"),
        ("b24app.bitrix.client", "def f():\n    from b24app import models"),
        ("b24app.bitrix.client", "import importlib\nimportlib.import_module('b24app.models')"),
        ("b24app.models", "from b24app.bitrix import tasks"),
        ("b24app.models", "import b24app.portals"),
        ("b24app.portals", "from b24app import deferrals"),
        ("b24app.selections", "from b24app.deferrals import start"),
        ("b24app.slices", "from b24app import jobs"),
        ("b24app.deferrals", "from celery import shared_task"),
        ("b24app.web.lists", "import requests"),
        ("b24app.web.lists", "from b24app.sandbox import models"),
        ("b24app.web.lists", "from b24app import settings"),
        ("b24app.web.lists", "from b24app import unheard_of"),
        ("b24app.sandbox.wire.rest", "from b24app.bitrix import tasks"),
        ("b24app.sandbox.wire.rest", "from ...models import Portal"),
    ],
)
def test_a_planted_offence_is_seen(module, line):
    assert offences(module, imports_of(line, module))


@pytest.mark.parametrize(
    "module, line",
    [
        ("b24app.web.lists", "from b24app import deferrals, jobs, portals"),
        ("b24app.web.lists", "from .access import ticketed"),
        ("b24app.steps", "from b24app.bitrix.tasks import Act\nfrom b24app.models import JobItem"),
        ("b24app.jobs", "from celery import shared_task"),
        ("b24app.sandbox.wire.rest", "from ..portal.models import Portal\nfrom . import php"),
        ("b24app.sandbox.methods.tasks", "from ..portal.models import Portal"),
    ],
)
def test_what_is_allowed_passes(module, line):
    assert offences(module, imports_of(line, module)) == []
