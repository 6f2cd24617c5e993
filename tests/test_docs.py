"""The documents name files and functions that exist, and README stays short."""

import ast
import re

import pytest

from tests.environment import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
HOP = re.compile(r"`(\w+/\w+\.py): (\w+)`")
ONE_FILE = re.compile(r"`((?:b24app|tests|templates|static|docs|bin|locale)/[\w./-]+)`")
LINK = re.compile(r"\]\(([\w./-]+\.(?:md|png)|LICENSE|NOTICE)(?:#([\w-]+))?\)")


def functions_in(path):
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_hop_names_a_function():
    hops = HOP.findall((ROOT / "docs" / "architecture.md").read_text())
    assert len(hops) >= 20
    missing = [(file, name) for file, name in hops if name not in functions_in(ROOT / "b24app" / file)]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_named_exists(document):
    named = ONE_FILE.findall(document.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document):
    for target, anchor in LINK.findall(document.read_text()):
        file = (document.parent / target).resolve()
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
