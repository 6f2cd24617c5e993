"""What must hold after every fault: the portals' truth against the app's database, item by item.

A violation is a sentence; none is what a test wants. The truth is the sandbox's log of every change of a real
status and of every command; the app's word for it are its rows.
"""

import base64
import json
import re
import sqlite3
from collections import Counter
from contextlib import closing

ITEMS = """
    select item.id, portal.member_id, person.user_id, item.task_id, item.state, item.step, item.code, item.job_id
    from defer_jobitem item join defer_job job on job.id = item.job_id
    join defer_person person on person.id = job.person_id join defer_portal portal on portal.id = job.portal_id
"""
COUNTED = ("done", "skipped", "failed")
TERMINAL = (*COUNTED, "cancelled")
STATUS_OF = {"already_deferred": 6, "completed": 5, "awaiting_control": 4, "declined": 7, "left_paused": 2}
APP_METHODS = ("tasks.task.pause", "tasks.task.defer", "tasks.task.start")


def violations(sandbox, rows):
    """Everything that is lost, doubled or misreported; `rows(sql)` asks the app's database."""
    found = leftovers(rows)
    keys = {portal["member_id"]: portal["key"] for portal in sandbox.control("portals")}
    items = rows(ITEMS)
    for member_id in {item[1] for item in items}:
        mine = [item for item in items if item[1] == member_id]
        found += of_portal(sandbox, keys[member_id], mine)
    return found


def leftovers(rows):
    """What is still open when everything should have come to an end, and records that do not fit together."""
    found = [
        f"job {job} is {state}" for job, state in rows("select id, state from defer_job where state <> 'finished'")
    ]
    held = "select id from defer_portal where lease_owner is not null"
    found += [f"portal {portal}: its lease is stuck" for (portal,) in rows(held)]
    for job, total, done, skipped, failed in rows("select id, total, done, skipped, failed from defer_job"):
        counts = dict(rows(f"select state, count(*) from defer_jobitem where job_id = {job} group by state"))
        if total != sum(counts.values()) or (done, skipped, failed) != tuple(counts.get(name, 0) for name in COUNTED):
            found.append(f"job {job} counts {(total, done, skipped, failed)}, its items {counts}")
    owed = Counter(item for (item,) in rows("select item_id from defer_deferral where item_id is not null"))
    done = {item for (item,) in rows("select id from defer_jobitem where state = 'done'")}
    found += [f"item {item} is done without a deferral" for item in done - set(owed)]
    found += [f"item {item} has a deferral and is not done" for item in set(owed) - done]
    live = rows("select portal_id, task_id from defer_deferral where state = 'sleeping'")
    return found + [f"task {task}: {number} live deferrals" for task, number in Counter(live).items() if number > 1]


def of_portal(sandbox, key, items):
    """The items of one portal against its truth."""
    found = []
    changes, statuses = sandbox.truth(key), sandbox.states(key)
    ran = successes(sandbox, key)
    for task in sorted({item[3] for item in items}):
        own = [item for item in items if item[3] == task]
        history = [change for change in changes if change["task"] == task]
        found += of_task(key, task, statuses.get(task), own, history, ran)
    return found


def of_task(key, task, status, items, history, ran):
    """One task: every item that asked for it, and everything that happened to it."""
    ours = [change for change in history if change["method"] in APP_METHODS]
    others = len(history) - len(ours)
    deferred = [change for change in ours if change["after"] == 6]
    done = [item for item in items if item[4] == "done"]
    name = f"{key} task {task}"
    found = [f"{name}: item {item[0]} ended as {item[4]}" for item in items if item[4] not in TERMINAL]
    if len(done) > len(deferred):
        found.append(f"{name}: {len(done)} items say done, it was deferred {len(deferred)} times")
    # What somebody changed right after us, before we could read it, is reported as what they made of it.
    standing = deferred if not others else [change for change in deferred if change is history[-1]]
    if len(standing) > len(done):
        found.append(f"{name}: deferred {len(standing)} times, {len(done)} items say so")
    if len(deferred) > 1 + others:
        found.append(f"{name}: deferred {len(deferred)} times")
    # Two items may both have been read before either of them acted.
    often = [(method, ran[method, task]) for method in APP_METHODS[:2]]
    found += [f"{name}: {method} ran {number} times" for method, number in often if number > len(items) + others]
    people = {item[2] for item in items}
    found += [f"{name}: {c['method']} with the token of {c['person']}" for c in ours if c["person"] not in people]
    last = items[-1]
    if not history or history[-1] in ours:
        found += misreported(name, status, last, bool(done))
    was_in_progress = bool(history) and history[0]["before"] == 3
    if status == 2 and was_in_progress and history[-1] in ours and last[6] != "left_paused":
        found.append(f"{name}: left paused, reported as {last[4]} {last[6]}")
    return found


def misreported(name, status, item, was_deferred):
    """Whether the last item's outcome is what the task is; nobody else has touched it since."""
    state, code = item[4], item[6]
    expected = 6 if state == "done" else STATUS_OF.get(code)
    if code == "gone":
        return [] if status is None else [f"{name}: reported gone, is {status}"]
    if expected is not None and status not in (expected, None):
        return [f"{name}: reported {state} {code}, is {status}"]
    if state == "failed" and status == 6 and not was_deferred:
        return [f"{name}: reported failed {code}, is deferred"]
    return []


def successes(sandbox, key):
    """How often the portal ran each act on each task without an error, changing it or not."""
    return Counter(
        (method, int(params["taskId"]))
        for request in sandbox.requests(key)
        for _, method, params, code in request["commands"]
        if method in APP_METHODS and not code
    )


# -- Secrets ---------------------------------------------------------------------------------------------------


def secrets_of(sandbox):
    """Every token that the sandbox ever issued, the application tokens, and the client secret."""
    with closing(sqlite3.connect(sandbox.log.parent / "sandbox.sqlite3", timeout=20)) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        token = next(name for name in tables if name.endswith("_token"))
        installation = next(name for name in tables if name.endswith("_installation"))
        pairs = connection.execute(f"select access, refresh from {token}").fetchall()
        application = connection.execute(f"select application_token from {installation}").fetchall()
    return {text for row in (*pairs, *application) for text in row if text} | {sandbox.client_secret}


def leaks(secrets, places):
    """Which of `places` (name -> text) hold a secret, in the clear or inside a message's base64."""
    found = []
    for name, text in places.items():
        whole = f"{text}\n{unwrapped(text)}"
        found += [f"{name} holds a secret" for secret in secrets if secret in whole][:1]
    return found


def unwrapped(text):
    """The bodies of Celery's messages in `text`, decoded."""
    bodies = set(re.findall(r'\\*"body\\*": ?\\*"([A-Za-z0-9+/=]{8,})', text))
    return "\n".join(base64.b64decode(body[: len(body) // 4 * 4]).decode(errors="replace") for body in bodies)


def journal(rows):
    """The journal as text."""
    return "\n".join(
        json.dumps(row, default=str) for row in rows("select method, params, outcome, code from defer_restcall")
    )
