"""Installing: connect the administrator, check the scope, register menu entries and events."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext

from b24app import clock
from b24app.bitrix import bounds
from b24app.bitrix.client import Client, Command, Reply, success
from b24app.bitrix.errors import BitrixError
from b24app.bitrix.limits import BATCH_SIZE
from b24app.bitrix.payloads import Opening
from b24app.languages import ENGLISH, LANGUAGES
from b24app.models import Person, Portal
from b24app.portals import clients, credentials, openings, people
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
MOST_BINDINGS = 200  # of one kind; the app itself has five menu entries
LONGEST_HANDLER = 500  # characters
Binding = tuple[str, str]  # the code of a placement or an event, and the handler


class NotAllowed(Exception):
    """The app cannot be set up. `code` says why: "not_admin", "scope" or "bind"."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.code, self.detail = code, detail
        super().__init__(code, detail)


def connect(opening: Opening) -> Person:
    """Step 1 of the installer: prove at the authorization server who opened it, and store that administrator.

    Raises NotProven, NotAllowed("not_admin"), or a BitrixError if a server did not answer. Safe to repeat.
    """
    received_at = clock.now()
    info = openings.prove(opening, installing=True)
    stored = Portal.objects.filter(member_id=info.member_id).first()
    client = clients.client_at(info.endpoint, opening.access_token, stored)
    profile = people.read_profile(client.call("profile").result)
    if profile.user_id != info.user_id:
        raise NotProven("another person's token")
    if not profile.is_admin:
        raise NotAllowed("not_admin")
    return openings.save_visitor(openings.save_portal(info), profile, opening, received_at)


def check_scope(person: Person) -> None:
    """Step 2: check that the portal has granted the scope that the app needs.

    Raises NotAllowed("scope"), whose detail names what is missing, or a BitrixError.
    """
    _, pair = credentials.usable(person, clients.PAGE.patience)
    info = credentials.token_info(person.portal.oauth_url, pair.access, person.portal)
    if missing := REQUIRED_SCOPE - info.scope:
        raise NotAllowed("scope", ", ".join(sorted(missing)))


def bind(person: Person) -> None:
    """Step 3: register exactly our menu entries and events at the portal, each once.

    Keeps correct bindings, adds missing ones, and removes those of an earlier version or address of the app. Safe to
    repeat, also by two administrators at once. Raises NotAllowed("bind") with the portal's code, or a BitrixError.
    Source: manual, placement-bind.md, event-bind.md.
    """
    clients.ask(person, _repair_bindings)
    Portal.objects.filter(pk=person.portal_id).update(bindings_checked_at=clock.now())


def needs_bindings_checked(person: Person) -> bool:
    """Whether the portal's bindings should be checked now that this person has opened the app.

    Every opening by an administrator checks them. If nothing is missing, this costs one request in the background.
    """
    return person.is_admin


def _repair_bindings(client: Client) -> None:
    repairs = _binding_repairs(client)
    if not repairs:
        return
    answers = client.batch(repairs)
    still_missing = {command.key for command in _binding_repairs(client)}
    for command in repairs:
        failure = answers[command.key]
        # Another administrator may have bound it in the meantime. So the portal's list decides, not its answer.
        if command.key in still_missing and isinstance(failure, BitrixError):
            raise NotAllowed("bind", f"{command.key}: {failure.code}")


def _binding_repairs(client: Client) -> list[Command]:
    """The commands that turn the bindings that the portal lists into ours, at most one batch of them."""
    answers = client.batch([Command("placements", "placement.get"), Command("events", "event.get")])
    placements = [_binding(row, "placement") for row in _rows(answers["placements"])]
    events = [_binding(row, "event") for row in _rows(answers["events"])]
    page, listener = f"{settings.PUBLIC_URL}/placement/", f"{settings.PUBLIC_URL}/events/"
    stale_placements, missing_placements = _differences(placements, {(code, page) for code in PLACEMENTS})
    stale_events, missing_events = _differences(events, {(code, listener) for code in EVENTS})
    repairs = [
        *(_unbind("placement", "PLACEMENT", *stale) for stale in stale_placements),
        *(_unbind("event", "event", *stale) for stale in stale_events),
        *(_bind_placement(*missing) for missing in missing_placements),
        *(
            Command(f"event.bind {code}", "event.bind", {"event": code, "handler": handler})
            for code, handler in missing_events
        ),
    ]
    return repairs[:BATCH_SIZE]  # the next opening by an administrator continues


def _binding(row: Mapping[str, Any], what: str) -> Binding:
    code, handler = (bounds.text(row.get(name), LONGEST_HANDLER) for name in (what, "handler"))
    return code.upper(), handler


def _differences(listed: Sequence[Binding], wanted: set[Binding]) -> tuple[list[Binding], list[Binding]]:
    """What to unbind, and what to bind after that.

    A binding that is listed twice is in both lists: unbinding removes all copies of it.
    """
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
    """The rows of a list answer, at most MOST_BINDINGS. Raises the answer if it is an error."""
    result = success(answer).result
    return [row for row in result[:MOST_BINDINGS] if isinstance(row, dict)] if isinstance(result, list) else []
