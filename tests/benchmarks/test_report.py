"""The benchmark's arithmetic: missed goals, stored results, and formulas."""

from dataclasses import replace

import pytest

from tests.benchmarks import theory
from tests.benchmarks.arena import FAULTS, Cell
from tests.benchmarks.contestants import OneByOne, Ours
from tests.benchmarks.report import Figure, Results, Row

HELD = Row(
    tasks=500,
    cost=0.1,
    scale=1.0,
    faults=0.0,
    who=Ours.name,
    seconds=105.9,
    shortest=100.0,
    requests=40,
    bucket_full=0,
    time_spent=0,
    wrong=0,
    first=2.9,
    cpu=4.9,
)


@pytest.mark.parametrize(
    "worse, words",
    [
        ({}, []),
        ({"seconds": 106.1}, ["106.1 s"]),
        ({"wrong": 1}, ["1 wrong"]),
        ({"first": 3.1}, ["first after 3.1 s"]),
        ({"first": None}, ["first after 0.0 s"]),
        ({"requests": 41}, ["41 requests"]),
        ({"tasks": 20, "requests": 3}, []),  # the goal of fewer requests does not apply to few tasks
        ({"cpu": 5.1}, ["CPU 5.1 ms"]),
        ({"faults": FAULTS, "seconds": 900, "cpu": None}, []),
        ({"faults": FAULTS, "wrong": 2}, ["2 wrong"]),
    ],
)
def test_a_row_says_which_goals_it_misses(worse, words):
    assert replace(HELD, **worse).missed() == words


def test_a_run_names_each_missed_goal(tmp_path):
    results = Results("a machine", tmp_path)
    results.add(HELD)
    results.add(replace(HELD, faults=FAULTS, wrong=1))
    results.add(replace(HELD, who=OneByOne.name, wrong=7))
    results.add_figures("page", [Figure("Opening", 30, "ms", 31), Figure("Asking", 6, "queries", 6)])

    assert results.missed() == ["500 tasks, t = 0.1, 5% faults: 1 wrong", "Opening: 31.0 ms, more than 30"]
    assert "missed: 1 wrong" in results.table()


def test_a_cut_run_continues(tmp_path):
    first = Results("a machine", tmp_path)
    first.add(HELD)
    first.add_figures("page", [Figure("Opening", 30, "ms", 31)])

    again = Results("a machine", tmp_path)

    assert (again.rows, again.figures) == (first.rows, first.figures)
    assert again.has(Cell(500, 0.1), Ours.name)
    assert not again.has(Cell(500, 0.1, faults=FAULTS), Ours.name)
    assert again.has_figures_of("page")
    again.forget()
    assert Results("a machine", tmp_path).rows == []


def test_single_calls_wait_for_the_bucket():
    portal = theory.Measured(command=0.1, overhead=0.0, reading=0.0)

    assert theory.one_by_one(20, portal, patience=2.0) == pytest.approx(40 * 0.1)
    assert 475 < theory.one_by_one(500, portal, patience=2.0) < 475 * 1.3


def test_operating_time_costs_nothing_at_first():
    portal = theory.Measured(command=0.33, overhead=0.0, reading=0.0)

    assert theory.forced_waits(500, portal, scale=1.0, cost=0.33) == 0
    assert theory.forced_waits(5000, replace(portal, command=0.01), scale=1.0, cost=0.33) > 600
