"""The matrix of rights and statuses: who may make which change, and what the portal answers."""

import csv
from collections import Counter
from pathlib import Path

import pytest

ROWS = list(csv.DictReader(Path(__file__).with_name("transitions.csv").read_text().splitlines()))
ROLES = [
    "creator",
    "responsible",
    "accomplice",
    "auditor",
    "boss_of_responsible",
    "boss_of_creator",
    "group_editor",
    "admin",
    "stranger",
]
HOUR = 3600  # seconds


@pytest.fixture(scope="module")
def matrix(running_sandbox):
    """For every row of the table: the answer, the real status after it, and how often the status changed."""
    sandbox = running_sandbox
    sandbox.reset()
    sandbox.settings(limits__bucket=False)
    people = {role: sandbox.user("acme", name=role, is_admin=role == "admin") for role in ROLES}
    sandbox.user("acme", number=people["responsible"], boss=people["boss_of_responsible"])
    sandbox.user("acme", number=people["creator"], boss=people["boss_of_creator"])
    project = sandbox.project("acme", editors=[people["group_editor"]])
    tasks = sandbox.tasks(
        "acme",
        [{"status": int(row["real_status"]), "deadline": -HOUR if row["overdue"] == "Y" else None} for row in ROWS],
        creator=people["creator"],
        responsible=people["responsible"],
        accomplices=[people["accomplice"]],
        auditors=[people["auditor"]],
        project=project,
    )
    sandbox.install("acme")
    answers = {}
    for role, number in people.items():
        # One batch per role: 432 requests would take four times as long.
        own = {f"t{task}": row["method"] for row, task in zip(ROWS, tasks, strict=True) if row["role"] == role}
        cmd = {key: f"{method}?taskId={key[1:]}" for key, method in own.items()}
        result = sandbox.batch("acme", cmd, sandbox.access("acme", number)).json()["result"]
        answers |= dict(result["result"]) | dict(result["result_error"])  # either may be []
    changes = Counter(row["task"] for row in sandbox.truth("acme"))
    states = sandbox.states("acme")
    return [(answers[f"t{task}"], states[task], changes[task]) for task in tasks]


def name_of(row):
    late = "overdue" if row["overdue"] == "Y" else "in time"
    return f"{row['method'][11:]}-{row['role']}-{row['real_status']}-{late}"


@pytest.mark.parametrize("index", range(len(ROWS)), ids=[name_of(row) for row in ROWS])
def test_answers_follow_the_matrix(matrix, index):
    row = ROWS[index]
    answer, status, changes = matrix[index]

    assert status == int(row["status_after"])
    assert changes == (1 if row["answer"] == "ok" else 0)
    if row["answer"].startswith("ok"):
        assert answer["task"]["status"] == row["status_after"]
    else:
        assert answer == {"error": row["answer"], "error_description": "Action on the task is not allowed"}


def test_the_matrix_covers_every_role():
    assert {row["role"] for row in ROWS} == set(ROLES)
    assert len(ROWS) == 4 * len(ROLES) * 12
