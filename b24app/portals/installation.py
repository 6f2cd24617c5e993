"""Installing: connect the administrator, check the permissions, register menu entries and events."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext

from b24app import clock
from b24app.bitrix.client import Client, Command, Reply, success
from b24app.bitrix.errors import (
    BitrixError,
)
from b24app.bitrix.payloads import Opening
from b24app.languages import ENGLISH, LANGUAGES
from b24app.models import Person, Portal
from b24app.portals import clients, credentials, openings, outgoing, people
from b24app.portals.openings import NotProven

REQUIRED_SCOPE = frozenset({"task", "placement", "user_brief", "im"})
PLACEMENTS = (
    "TASK_USER_LIST_TOOLBAR",
    "TASK_GROUP_LIST_TOOLBAR",
    "TASK_LIST_CONTEXT_MENU",
    "TASK_VIEW_TAB",
    "REST_APP_URI",
)
EVENTS = ("ONAPPUNINSTALL",)
Binding = tuple[str, str]  # the code of a placement or an event, and the handler


class NotAllowed(Exception):
    """The app cannot be set up as things are; `code` says why: "not_admin", "scope", "bind"."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.code, self.detail = code, detail
        super().__init__(code, detail)


def connect(opening: Opening) -> Person:
    """Step 1 of the installer: the admin who opened it, proven at the authorization server and stored.

    Raises NotProven, NotAllowed("not_admin"), or a BitrixError when somebody did not answer. May be repeated.
    """
    received_at = clock.now()
    info = openings.prove(opening, installing=True)
    client = Client(
        info.endpoint,
        opening.access_token,
        outgoing.egress(),
        clients.WEB_TIMEOUT,
        after=outgoing.journal(Portal.objects.filter(member_id=info.member_id).first()),
    )
    profile = people.read_profile(client.call("profile").result)
    if profile.user_id != info.user_id:
        raise NotProven("another person's token")
    if not profile.is_admin:
        raise NotAllowed("not_admin")
    return openings.save_visitor(openings.save_portal(info), profile, opening, received_at)


def check_scope(person: Person) -> None:
    """Step 2: the portal granted what we need. Raises NotAllowed("scope") naming what is missing."""
    credential = credentials.usable_credential(person, clients.WEB_PATIENCE)
    info = credentials.token_info(person.portal.oauth_url, credential.access_token, person.portal)
    if missing := REQUIRED_SCOPE - info.scope:
        raise NotAllowed("scope", ", ".join(sorted(missing)))


def bind(person: Person) -> None:
    """Step 3: exactly our menu entries and events are registered at the portal, each once.

    What is right stays, what is missing is added, what an earlier version or address left is removed. May be
    repeated, also by two admins at once. Raises NotAllowed("bind") with the portal's code, or a BitrixError.
    Source: manual, placement-bind.md, event-bind.md.
    """
    clients.ask(person, _repair_bindings)
    Portal.objects.filter(pk=person.portal_id).update(bindings_checked_at=clock.now())


def needs_bindings_checked(person: Person) -> bool:
    """Whether this opening should look after the portal's bindings: each one by an admin. Where nothing is missing
    that is one request, in the background."""
    return person.is_admin


def _repair_bindings(client: Client) -> None:
    repairs = _binding_repairs(client)
    if not repairs:
        return
    answers = client.batch(repairs)
    still_missing = {command.key for command in _binding_repairs(client)}
    for command in repairs:
        failure = answers[command.key]
        # Somebody else may have bound it meanwhile: what the portal lists now decides, not what it answered.
        if command.key in still_missing and isinstance(failure, BitrixError):
            raise NotAllowed("bind", f"{command.key}: {failure.code}")


def _binding_repairs(client: Client) -> list[Command]:
    """The commands that turn what the portal lists into what it should list."""
    answers = client.batch([Command("placements", "placement.get"), Command("events", "event.get")])
    placements = [(str(row.get("placement")).upper(), str(row.get("handler"))) for row in _rows(answers["placements"])]
    events = [(str(row.get("event")).upper(), str(row.get("handler"))) for row in _rows(answers["events"])]
    page, listener = f"{settings.PUBLIC_URL}/placement/", f"{settings.PUBLIC_URL}/events/"
    stale_placements, missing_placements = _differences(placements, {(code, page) for code in PLACEMENTS})
    stale_events, missing_events = _differences(events, {(code, listener) for code in EVENTS})
    return [
        *(_unbind("placement", "PLACEMENT", *stale) for stale in stale_placements),
        *(_unbind("event", "event", *stale) for stale in stale_events),
        *(_bind_placement(*missing) for missing in missing_placements),
        *(
            Command(f"event.bind {code}", "event.bind", {"event": code, "handler": handler})
            for code, handler in missing_events
        ),
    ]


def _differences(listed: Sequence[Binding], wanted: set[Binding]) -> tuple[list[Binding], list[Binding]]:
    """What to unbind and what to bind then. What is listed twice goes, as all of it does at once, and comes back."""
    twice = {binding for binding in listed if listed.count(binding) > 1}
    return sorted({*listed} - wanted | twice), sorted(wanted - {*listed} | wanted & twice)


def _unbind(what: str, name: str, code: str, handler: str) -> Command:
    handler_name = "HANDLER" if what == "placement" else "handler"
    return Command(f"{what}.unbind {code} {handler}", f"{what}.unbind", {name: code, handler_name: handler})


def _bind_placement(code: str, handler: str) -> Command:
    titles = {}
    for language in LANGUAGES:
        with translation.override(language.locale):
            titles[language.code] = {"TITLE": gettext("Defer tasks")}
    params = {"PLACEMENT": code, "HANDLER": handler, "TITLE": titles[ENGLISH.code]["TITLE"], "LANG_ALL": titles}
    return Command(f"placement.bind {code}", "placement.bind", params)


def _rows(answer: Reply) -> list[dict[str, Any]]:
    """The rows of a list that was answered. Raises the error that it is."""
    result = success(answer).result
    return [row for row in result if isinstance(row, dict)] if isinstance(result, list) else []
