"""Random walks: whatever comes together, nothing is lost, doubled or misreported. See walk.py."""

import pytest

from tests.faults.walk import FIRST, SEEDS, Walk


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_a_walk_ends_in_the_truth(engine, open_as, monkeypatch, seed):
    try:
        Walk(engine, open_as, monkeypatch, seed).run()
    except AssertionError as error:
        again = f"WALK_FIRST={seed} WALK_SEEDS=1 python -m pytest tests/faults/test_walk.py"
        pytest.fail(f"{error}\nRepeat it with: {again}", pytrace=False)
