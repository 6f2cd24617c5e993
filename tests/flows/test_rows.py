"""docs/lifecycle-tests.md names exactly the tests of the installation's transitions."""

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parent.parent / "docs" / "lifecycle-tests.md"
ELSEWHERE = {
    "test_production.py",
    "test_bucket.py",
    "test_heartbeat.py",
    "test_main_job.py",
    "test_refresh.py",
    Path(__file__).name,
}


def names_in(path):
    return set(re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE))


def test_each_turn_has_a_test_and_back():
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT.read_text()))
    modules = {path.name: names_in(path) for path in HERE.glob("test_*.py")}
    assert named <= set.union(*modules.values())
    assert set.union(*(tests for name, tests in modules.items() if name not in ELSEWHERE)) <= named
