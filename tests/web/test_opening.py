"""Openings: which tasks each place lists, rejections, and languages."""

import html

import pytest
from django.test import Client

from b24app.models import Job

pytestmark = pytest.mark.django_db


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


def test_the_main_address_opens_the_app(bob, tasks):
    tasks(title="Mine")
    assert "Select: Mine" in bob.post_opening("/", bob.opening()).text


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


@pytest.mark.parametrize("path", ["/", "/install/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_registered_addresses_answer_a_get(path, method):
    answer = Client().generic(method, path)
    assert answer.status_code == 200
    assert method == "HEAD" or "Defer is an app for Bitrix24" in answer.text
