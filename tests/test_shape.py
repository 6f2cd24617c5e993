"""Code stays short: no class over 150 lines, no function over 30. ruff checks the complexity and the line length.

A function is counted from `def` to its last line, with its docstring and without its decorators.
"""

import ast

import pytest

from tests.environment import ROOT

LONGEST = {ast.ClassDef: 150, ast.FunctionDef: 30, ast.AsyncFunctionDef: 30}  # lines
FILES = sorted(path for folder in ("b24app", "bin") for path in (ROOT / folder).rglob("*.py"))


def too_long(source):
    """The classes and functions in `source` that are too long, with their lines."""
    for node in ast.walk(ast.parse(source)):
        lines = node.end_lineno - node.lineno + 1 if type(node) in LONGEST else 0
        if lines > LONGEST.get(type(node), 0):
            yield f"{node.name}: {lines} lines"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=str(path.relative_to(ROOT)))
        for path in FILES
        if "migrations" not in path.parts  # written by Django
    ],
)
def test_classes_and_functions_are_short(path):
    assert list(too_long(path.read_text())) == []


def test_a_long_function_is_found():
    body = "    x = 1\n" * 30
    assert list(too_long(f"def f():\n{body}")) == ["f: 31 lines"]
    assert list(too_long(f"@cache\ndef f():\n{body[10:]}")) == []


def test_a_long_class_is_found():
    assert list(too_long("class A:\n" + "    x = 1\n" * 150)) == ["A: 151 lines"]
