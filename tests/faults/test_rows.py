"""Each fault in docs/faults.md has a test, and each test of a fault has a row there."""

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
DOCUMENT = (TESTS.parent / "docs" / "faults.md").read_text()
ROWS = re.findall(r"^\| F(\d+) \|[^|]+\|[^|]+\| (.+?) \|$", DOCUMENT, re.MULTILINE)
ELSEWHERE = [re.fullmatch(r"`(tests/\w+/)`: `(test_\w+)`", test) for _, test in ROWS if test != "in the name"]


def names_in(folder):
    texts = [path.read_text() for path in folder.glob("test_*.py")]
    return {name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}


def numbers_here():
    """Every fault number in the names of this folder's tests."""
    names = [name for name in names_in(Path(__file__).parent) if name.startswith("test_f")]
    return {number for name in names for number in re.findall(r"_f(\d+)(?=_)", name)}


def test_every_numbered_test_has_a_row():
    assert numbers_here() == {number for number, test in ROWS if test == "in the name"}


def test_every_other_row_names_a_test():
    assert all(ELSEWHERE)
    assert [row[2] for row in ELSEWHERE if row[2] not in names_in(TESTS.parent / row[1])] == []


def test_every_fault_has_one_row():
    assert sorted({int(number) for number, _ in ROWS}) == [int(number) for number, _ in ROWS]
