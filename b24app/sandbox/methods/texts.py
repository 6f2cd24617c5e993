"""The texts of errors in the person's or the portal's language. The texts of the transport are always English."""

from ..portal import knobs
from ..portal.models import User

TEXTS = {
    "not_allowed": {
        "en": "Action on the task is not allowed",
        "ru": "Действие над задачей не разрешено",
        "de": "Die Aktion mit der Aufgabe ist nicht erlaubt",
    },
    "not_found": {
        "en": "Task not found or not accessible",
        "ru": "Задача не найдена или недоступна",
        "de": "Aufgabe nicht gefunden oder nicht zugänglich",
    },
    "bad_status": {"en": "Invalid status", "ru": "Неверный статус", "de": "Ungültiger Status"},
    "no_title": {"en": "Task title is not specified", "ru": "Не указано название задачи", "de": "Kein Aufgabentitel"},
    "bad_responsible": {
        "en": "The specified assignee was not found",
        "ru": "Исполнитель не найден",
        "de": "Der Verantwortliche wurde nicht gefunden",
    },
}


def text(name: str, user: User) -> str:
    """The text in the user's language, else in the portal's, else in English."""
    said = TEXTS[name]
    if not knobs.trap("localized_errors", user.portal.key):
        return said["en"]
    return said.get(user.language or user.portal.language, said["en"])
