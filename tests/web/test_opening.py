"""Openings, the installer, fresh proofs and events."""

import html
import re
from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from b24app import clock
from b24app.models import Credential, FailedOpening, Job, PendingOpening, Person, Portal, WorkerHeartbeat

pytestmark = pytest.mark.django_db


def nothing_is_stored():
    return not any(model.objects.exists() for model in (Portal, Person, Credential, PendingOpening))


# -- Openings


def test_a_list_opens_its_tasks_in_progress(bob, tasks, sandbox):
    eve = sandbox.user("acme", name="Eve")
    tasks(title="Mine")
    tasks(status=2, title="Pending")
    sandbox.tasks("acme", count=1, creator=eve, status=3, title="Hers")
    text = bob.open().text
    assert "Select: Mine" in text
    assert "Select: Pending" not in text
    assert "Select: Hers" not in text


def test_the_left_menu_opens_ones_own_tasks(bob, tasks, sandbox):
    admin = sandbox.user("acme", name="Ada", is_admin=True)
    tasks(title="Bobs")
    sandbox.tasks("acme", count=1, creator=admin, status=3, title="Adas")
    bob.user = admin
    text = bob.open("DEFAULT", **{"unused": "x"}).text
    assert "Select: Adas" in text
    assert "Select: Bobs" not in text


def test_a_project_opens_its_own_tasks(bob, sandbox, tasks):
    project = sandbox.project("acme", name="Warehouse", members=[bob.user])
    tasks(title="Inside", project=project)
    tasks(title="Outside")
    text = bob.open("TASK_GROUP_LIST_TOOLBAR", GROUP_ID=str(project)).text
    assert "Select: Inside" in text
    assert "Select: Outside" not in text
    assert "Project" in text
    assert "Warehouse" in text


@pytest.mark.parametrize("placement, name", [("TASK_LIST_CONTEXT_MENU", "ID"), ("TASK_VIEW_TAB", "taskId")])
def test_a_single_task_opens_ticked(bob, tasks, placement, name):
    (task,) = tasks(status=2)
    tasks()
    text = bob.open(placement, **{name: str(task)}).text
    assert f'data-ticked="{task}"' in text
    assert text.count('aria-label="Select: ') == 1


def test_a_forged_opening_stores_nothing(bob):
    opening = bob.opening()
    opening["fields"]["AUTH_ID"] = "f" * 70
    answer = bob.post_opening("/placement/", opening)
    assert answer.status_code == 403
    assert "not installed" in answer.text
    assert nothing_is_stored()


def test_another_portals_token_is_refused(bob, visit):
    opening, other = bob.opening(), visit("umbrella", name="Ann").opening()
    opening["fields"]["AUTH_ID"] = other["fields"]["AUTH_ID"]
    assert bob.post_opening("/placement/", opening).status_code == 403
    assert nothing_is_stored()


@pytest.mark.parametrize("missing", ["AUTH_ID", "REFRESH_ID", "member_id"])
def test_an_incomplete_opening_is_refused(bob, missing):
    opening = bob.opening()
    del opening["fields"][missing]
    assert bob.post_opening("/", opening).status_code == 400


def test_the_main_address_opens_the_app(bob, tasks):
    tasks(title="Mine")
    assert "Select: Mine" in bob.post_opening("/", bob.opening()).text


@pytest.fixture
def open_slowly(bob, sandbox, monkeypatch):
    """Post an opening that the portal confirms too late; return the answer."""

    def post(opening):
        sandbox.fault("batch", "late", seconds=1, times=1)
        with monkeypatch.context() as impatient:
            impatient.setattr("b24app.portals.openings.OPENING_TIMEOUT", 0.3)
            return bob.post_opening("/placement/", opening)

    return post


def test_a_slow_portal_is_asked_again_once(bob, tasks, open_slowly):
    tasks(title="Mine")
    bob.open()
    page = open_slowly(bob.opening())
    assert "Select: Mine" not in page.text
    code = re.search(r'name="code" value="([^"]+)"', page.text).group(1)
    assert page.text.count(code) == 1
    rest = Client().post("/opening/", {"code": code})
    assert "Select: Mine" in rest.text
    bob.ticket = rest["X-Ticket"]
    assert bob.get("/tasks/").status_code == 200
    assert Client().post("/opening/", {"code": code}).status_code == 401


def test_a_slow_opening_keeps_newer_tokens(bob, tasks, open_slowly):
    tasks(title="Mine")
    bob.open()
    page = open_slowly(bob.opening())
    newer = bob.opening()
    bob.post_opening("/placement/", newer)
    code = re.search(r'name="code" value="([^"]+)"', page.text).group(1)
    assert "Select: Mine" in Client().post("/opening/", {"code": code}).text
    assert Credential.objects.get().access_token == newer["fields"]["AUTH_ID"]


def test_a_slow_opening_replaces_dead_tokens(bob, tasks, open_slowly):
    tasks(title="Mine")
    bob.open()
    slow = bob.opening()
    page = open_slowly(slow)
    bob.open()
    Credential.objects.update(state=Credential.State.NEEDS_REOPEN)
    code = re.search(r'name="code" value="([^"]+)"', page.text).group(1)
    Client().post("/opening/", {"code": code})
    credential = Credential.objects.get()
    assert (credential.state, credential.access_token) == (Credential.State.USABLE, slow["fields"]["AUTH_ID"])


def test_a_slow_openings_code_expires(bob, sandbox):
    sandbox.fault("*", "respond", status=503, body="busy", type="text/html")
    page = bob.post_opening("/placement/", bob.opening())
    code = re.search(r'name="code" value="([^"]+)"', page.text).group(1)
    with time_machine.travel(clock.now() + timedelta(seconds=61)):
        assert Client().post("/opening/", {"code": code}).status_code == 401


def test_no_page_contains_a_token(bob, tasks):
    tasks()
    opening = bob.opening()
    text = bob.post_opening("/placement/", opening).text
    for name in ("AUTH_ID", "REFRESH_ID", "APPLICATION_TOKEN"):
        assert opening["fields"][name] not in text


REFUSALS = [
    ("ACCESS_DENIED", "plan does not include apps", "не включает приложения"),
    ("PAYMENT_REQUIRED", "not paid for", "не оплачено"),
    ("insufficient_scope", "A permission is missing", "Не хватает прав"),
    ("METHOD_CONFIRM_WAITING", "has to confirm the app", "должен подтвердить"),
    ("OVERLOAD_LIMIT", "temporarily blocked the app", "временно заблокировал"),
    ("PORTAL_DELETED", "This Bitrix24 account has been deleted", "Этот Битрикс24 удалён"),
    ("authorization_error", "denies you access", "закрыл вам доступ"),
    ("user_access_error", "You do not have access to the app", "нет доступа к приложению"),
    ("wrong_client", "on our side", "на нашей стороне"),
]


@pytest.mark.parametrize("code, english, russian", REFUSALS)
def test_an_opening_names_each_refusal(bob, sandbox, code, english, russian):
    for language, words in (("en", english), ("ru", russian)):
        sandbox.fault("*", "error", code=code, portal="acme")
        page = bob.post_opening("/placement/", bob.opening(), language)
        assert page.status_code == 200
        assert words in html.unescape(page.text)
        assert code in page.text
        assert "data-reopen" in page.text


@pytest.mark.parametrize("code, english, russian", REFUSALS)
def test_the_list_names_each_refusal(bob, sandbox, code, english, russian):
    for language, words in (("en", english), ("ru", russian)):
        bob.open(language=language)
        sandbox.fault("tasks.task.list", "error", code=code, portal="acme")
        assert words in html.unescape(bob.get("/tasks/").text)


def test_an_opening_resumes_waiting_jobs(bob, tasks, sent_messages, django_capture_on_commit_callbacks):
    ids = tasks(2)
    bob.open()
    bob.start(ids)
    Job.objects.update(state=Job.State.WAITING, wait_reason=Job.WaitReason.PERSON)
    with django_capture_on_commit_callbacks(execute=True):
        page = bob.open()
    assert Job.objects.get().state == Job.State.QUEUED
    assert sent_messages == [bob.person.portal_id]
    assert "Deferring 2 tasks" in page.text


def test_the_page_speaks_the_portals_language(bob, tasks):
    tasks()
    page = bob.open(language="ru")
    assert '<html lang="ru"' in page.text
    assert "Отложить задачи" in page.text
    assert "Крайний срок" in bob.get("/tasks/").text


@pytest.mark.parametrize("language", ["la", "xx", "", "RU"])
def test_unknown_languages_become_english(bob, language):
    page = bob.post_opening("/placement/", bob.opening(), language)
    assert ('<html lang="ru"' in page.text) == (language == "RU")


# -- Fresh proofs


def test_fresh_tokens_give_a_new_ticket(bob):
    bob.open()
    answer = bob.post_opening("/ticket/", bob.opening())
    assert answer.status_code == 204
    bob.ticket = answer["X-Ticket"]
    assert bob.get("/tasks/").status_code == 200


def test_forged_tokens_give_no_ticket(bob):
    opening = bob.opening()
    opening["fields"]["AUTH_ID"] = "f" * 70
    answer = bob.post_opening("/ticket/", opening)
    assert answer.status_code == 401
    assert "X-Ticket" not in answer


def test_another_site_gets_no_ticket(bob):
    assert bob.post_opening("/ticket/", bob.opening(), **{"Sec-Fetch-Site": "cross-site"}).status_code == 403


# -- The installer


@pytest.fixture
def admin(visit):
    return visit(finished=False, name="Ada", is_admin=True)


def install(visitor):
    page = visitor.post_opening("/install/", visitor.opening("DEFAULT", unused="x"))
    found = re.search(r'data-ticket="([^"]*)"', page.text)
    visitor.ticket = found.group(1) if found else ""
    return page


def test_an_admin_installs_in_three_steps(admin, sandbox, settings):
    page = install(admin)
    assert 'hx-post="/install/scope/" hx-trigger="load"' in page.text
    second = admin.post("/install/scope/")
    assert 'hx-post="/install/bind/" hx-trigger="load"' in second.text
    third = admin.post("/install/bind/")
    assert third["HX-Trigger-After-Swap"] == "installed"
    assert third.text.count('class="done"') == 3
    bound = sandbox.control("installation", portal="acme")
    handlers = {row["handler"] for row in bound["placements"]}
    assert len(bound["placements"]) == 5
    assert handlers == {f"{settings.PUBLIC_URL}/placement/"}
    assert [row["event"] for row in bound["events"]] == ["ONAPPUNINSTALL"]


def test_a_reinstall_binds_nothing_twice(admin, sandbox):
    for _ in range(2):
        install(admin)
        admin.post("/install/scope/")
        admin.post("/install/bind/")
    bound = sandbox.control("installation", portal="acme")
    assert (len(bound["placements"]), len(bound["events"])) == (5, 1)


def test_only_an_admin_can_install(visit):
    page = install(visit(finished=False))
    assert "Only an administrator can set up the app" in page.text
    assert "hx-trigger" not in page.text
    assert nothing_is_stored()


def test_a_missing_scope_can_be_tried_again(admin, sandbox):
    sandbox.install("acme", finished=False, scope="task,placement")
    install(admin)
    stopped = admin.post("/install/scope/")
    assert "im, user_brief" in stopped.text
    assert "Try again" in stopped.text
    assert "HX-Trigger-After-Swap" not in stopped
    assert 'hx-trigger="load"' not in stopped.text


def test_a_failed_bind_can_be_tried_again(admin, sandbox):
    install(admin)
    sandbox.fault("placement.bind", "error", code="ERROR_CORE", description="no", status=400)
    stopped = admin.post("/install/bind/")
    assert "Try again" in stopped.text
    assert "HX-Trigger-After-Swap" not in stopped
    sandbox.clear_faults()
    assert admin.post("/install/bind/")["HX-Trigger-After-Swap"] == "installed"


def test_an_outage_can_be_tried_again(admin, sandbox):
    sandbox.fault("*", "respond", status=503, body="busy", type="text/html")
    page = install(admin)
    assert "data-reopen" in page.text
    assert nothing_is_stored()


def test_a_forged_installation_is_refused(admin):
    opening = admin.opening("DEFAULT", unused="x")
    opening["fields"]["AUTH_ID"] = "f" * 70
    assert admin.post_opening("/install/", opening).status_code == 403
    assert nothing_is_stored()


# -- Events, the public page, signs of life


def event(visitor, token, name="ONAPPUNINSTALL"):
    portal = visitor.person.portal
    fields = {"event": name, "auth[member_id]": portal.member_id, "auth[application_token]": token}
    return Client().post("/events/", fields)


@pytest.fixture
def opened_admin(visit):
    admin = visit(name="Ada", is_admin=True)
    admin.open()
    return admin


def test_an_uninstall_suspends_the_portal(opened_admin, sandbox):
    token = sandbox.control("installation", portal="acme")["application_token"]
    assert event(opened_admin, token).text == "ok"
    assert Portal.objects.get().status == Portal.Status.SUSPENDED
    assert opened_admin.get("/tasks/").status_code == 401


def test_a_forged_event_changes_nothing(opened_admin):
    assert event(opened_admin, "0" * 32).text == "ok"
    assert Portal.objects.get().status == Portal.Status.ACTIVE


def test_an_unknown_event_is_ignored(opened_admin, sandbox):
    token = sandbox.control("installation", portal="acme")["application_token"]
    assert event(opened_admin, token, "ONTASKADD").text == "ok"
    assert Portal.objects.get().status == Portal.Status.ACTIVE


def test_an_incomplete_event_is_refused():
    assert Client().post("/events/", {"event": "ONAPPUNINSTALL"}).status_code == 400


@pytest.mark.parametrize("path", ["/", "/install/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_registered_addresses_answer_a_get(path, method):
    answer = Client().generic(method, path)
    assert answer.status_code == 200
    assert method == "HEAD" or "Defer is an app for Bitrix24" in answer.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_healthy_and_ready(path):
    WorkerHeartbeat.objects.create(at=timezone.now())
    assert Client().get(path).text == "ok"


@pytest.mark.parametrize("sweeps", [[], [timedelta(seconds=121)]])
def test_not_ready_without_a_living_worker(sweeps):
    for ago in sweeps:
        WorkerHeartbeat.objects.create(at=timezone.now() - ago)
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.text) == (503, "no worker has read a message lately")


def test_not_ready_without_its_migrations(monkeypatch):
    WorkerHeartbeat.objects.create(at=timezone.now())
    monkeypatch.setattr("django.db.migrations.executor.MigrationExecutor.migration_plan", lambda *args: ["one"])
    assert Client().get("/readyz").status_code == 503


# -- Forged openings in numbers


def forged(bob):
    opening = bob.opening()
    opening["fields"]["AUTH_ID"] = "f" * 70
    return opening


def test_the_sixth_forgery_is_not_checked(bob, sandbox):
    bob.open()
    answers = [bob.post_opening("/placement/", forged(bob)).status_code for _ in range(5)]
    asked = len(sandbox.requests("acme")) + len(sandbox.requests(None))
    turned_away = bob.post_opening("/placement/", forged(bob))
    assert answers == [403] * 5
    assert (turned_away.status_code, turned_away["Retry-After"]) == (429, "60")
    assert "Too many attempts" in turned_away.text
    assert bob.post_opening("/install/", forged(bob)).status_code == 429
    assert bob.post_opening("/ticket/", forged(bob)).status_code == 401
    assert len(sandbox.requests("acme")) + len(sandbox.requests(None)) == asked


def test_forgeries_block_one_address_briefly(bob, settings):
    settings.PROXY_COUNT = 1
    for _ in range(6):
        bob.post_opening("/placement/", forged(bob), **{"X-Forwarded-For": "192.0.2.1"})
    mine = {"X-Forwarded-For": "192.0.2.1, 198.51.100.7"}
    assert bob.post_opening("/placement/", bob.opening(), **mine).status_code == 200
    theirs = {"X-Forwarded-For": "198.51.100.7, 192.0.2.1"}
    assert bob.post_opening("/placement/", bob.opening(), **theirs).status_code == 429
    FailedOpening.objects.update(at=clock.now() - timedelta(seconds=61))
    assert bob.post_opening("/placement/", bob.opening(), **theirs).status_code == 200


def test_an_invented_address_does_not_help(bob):
    answers = [
        bob.post_opening("/placement/", forged(bob), **{"X-Forwarded-For": f"192.0.2.{n}"}).status_code
        for n in range(6)
    ]
    assert answers == [403] * 5 + [429]


def test_naming_other_portals_does_not_help(bob, monkeypatch):
    monkeypatch.setattr("b24app.portals.throttle.FAILURES_IN_ALL", 3)
    answers = []
    for n in range(4):
        opening = forged(bob)
        opening["fields"]["member_id"] = f"{n}" * 32
        answers.append(bob.post_opening("/placement/", opening).status_code)
    assert answers == [403, 403, 403, 429]
