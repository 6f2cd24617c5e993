"""Which test proves which fault. The numbers are those of our list of faults, which the bench has to cover."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
COVERED = [*range(1, 23), *range(26, 37), 39, *range(43, 46), 47, 49, 51, *range(53, 56)]

# Proved where the thing itself is tested; every other one has its number in the name of a test in this folder.
ELSEWHERE = {
    1: ("flows/test_main_job.py", "test_a_token_that_expires_before_and_between_batches_is_renewed_once_per_expiry"),
    53: ("portals/test_credentials.py", "test_a_foreign_pair_is_not_taken"),
}


def named_here():
    """Every fault number in the names of this folder's tests."""
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    names = [name for text in texts for name in re.findall(r"^def (test_f\w+)", text, re.MULTILINE)]
    return {int(number) for name in names for number in re.findall(r"_f(\d+)(?=_)", name)}


def test_every_fault_has_a_test():
    assert sorted(named_here() | set(ELSEWHERE)) == COVERED


@pytest.mark.parametrize("file, name", ELSEWHERE.values())
def test_the_tests_named_here_exist(file, name):
    assert f"def {name}(" in (TESTS / file).read_text()
