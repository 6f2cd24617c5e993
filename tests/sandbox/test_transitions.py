"""The matrix of rights and statuses: who may make which change, and what the portal says."""

import csv
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
    """One task per row of the table and one token per role."""
    sandbox = running_sandbox
    sandbox.reset()
    sandbox.settings(limits__bucket=False)
    people = {role: sandbox.user("acme", name=role, is_admin=role == "admin") for role in ROLES}
    sandbox.user("acme", number=people["responsible"], boss=people["boss_of_responsible"])
    sandbox.user("acme", number=people["creator"], boss=people["boss_of_creator"])
    project = sandbox.project("acme", editors=[people["group_editor"]])
    tasks = sandbox.tasks(
        "acme",
        [
            {"status": int(row["real_status"]), "deadline": -HOUR if row["overdue"] == "Y" else None}
            for row in ROWS
        ],
        creator=people["creator"],
        responsible=people["responsible"],
        accomplices=[people["accomplice"]],
        auditors=[people["auditor"]],
        project=project,
    )
    sandbox.install("acme")
    tokens = {role: sandbox.access("acme", number) for role, number in people.items()}
    return sandbox, tasks, tokens


def name_of(row):
    late = "overdue" if row["overdue"] == "Y" else "in time"
    return f"{row['method'][11:]}-{row['role']}-{row['real_status']}-{late}"


@pytest.mark.parametrize("index", range(len(ROWS)), ids=[name_of(row) for row in ROWS])
def test_it_answers_as_the_matrix_says(matrix, index):
    sandbox, tasks, tokens = matrix
    row, task = ROWS[index], tasks[index]

    answer = sandbox.rest("acme", row["method"], {"taskId": task}, tokens[row["role"]])

    truth = sandbox.look("acme", task)
    assert truth["status"] == int(row["status_after"])
    assert len(truth["changes"]) == (1 if row["answer"] == "ok" else 0)
    if row["answer"].startswith("ok"):
        assert answer.status_code == 200
        assert answer.json()["result"]["task"]["status"] == row["status_after"]
    else:
        assert answer.status_code == 400
        assert answer.json() == {
            "error": row["answer"],
            "error_description": "Action on the task is not allowed",
        }


def test_the_table_covers_every_role_and_method():
    assert {row["role"] for row in ROWS} == set(ROLES)
    assert len(ROWS) == 4 * len(ROLES) * 12
