"""What the desktop says, in the portal user's language."""

from datetime import datetime

ENGLISH = {
    "admin": "administrator",
    "all": "All",
    "app_unfinished": "The application is not fully installed yet. An administrator has to open it once.",
    "ask_admin": "Only an administrator can install applications. Please ask yours.",
    "auditors": "Observers",
    "accomplices": "Participants",
    "back": "Back to tasks",
    "boss_of": "supervisor of {}",
    "by_hand": "by hand",
    "by_app": "application, {}",
    "cancel": "Cancel",
    "choose": "Who are you today?",
    "choose_hint": "Every person has other rights. You can change at any time, at the top right.",
    "close": "Close",
    "complete": "Complete",
    "completed": "Completed",
    "created": "Created",
    "created_by": "Created by",
    "deadline": "Deadline",
    "defer": "Defer",
    "deferred": "Deferred",
    "details": "View task",
    "find": "Find by name",
    "history": "History",
    "in_progress": "In progress",
    "install": "Install",
    "installed": "Installed",
    "installed_not": "Not installed",
    "language": "Language",
    "market": "Bitrix24 Market",
    "market_intro": "Applications for your company",
    "market_short": "Market",
    "moderator_of": "moderator of {}",
    "more": "More",
    "my_tasks": "My tasks",
    "name": "Name",
    "next": "Next",
    "no_access": "You have no access to this application.",
    "no_deadline": "No deadline",
    "no_market_apps": "No applications here",
    "no_task": "Task not found or access denied.",
    "no_tasks": "No tasks match",
    "nobody": "none",
    "open": "Open",
    "ordinary": "employee",
    "outsider": "observer of some tasks",
    "page": "Pages",
    "pause": "Pause",
    "people": "People",
    "previous": "Previous",
    "project": "Project",
    "projects": "Projects",
    "refused": "Action on the task is not allowed",
    "renew": "Resume",
    "responsible": "Assignee",
    "row_menu": "Actions for: {}",
    "select_person": "Select a person",
    "select_row": "Tick: {}",
    "selected": "Selected",
    "setup_needed": "Setup is not finished",
    "start": "Start",
    "status": "Status",
    "task": "Task",
    "tasks": "Tasks",
    "total": "Total",
    "under_the_hood": "Under the hood",
    "uninstall": "Uninstall",
    "uninstall_clean": "delete its settings and data",
    "update": "Install again",
    "user_tasks": "Tasks: {}",
    "vendor_text": "Sends many tasks at once into the status “Deferred”.",
}
RUSSIAN = {
    "admin": "администратор",
    "all": "Все",
    "app_unfinished": "Приложение установлено не до конца. Его должен открыть администратор.",
    "ask_admin": "Приложения устанавливает только администратор. Обратитесь к нему.",
    "auditors": "Наблюдатели",
    "accomplices": "Соисполнители",
    "back": "К списку задач",
    "boss_of": "руководитель: {}",
    "by_hand": "вручную",
    "by_app": "приложение, {}",
    "cancel": "Отмена",
    "choose": "Кто вы сегодня?",
    "choose_hint": "У каждого свои права. Сменить человека можно в любой момент справа вверху.",
    "close": "Закрыть",
    "complete": "Завершить",
    "completed": "Завершённые",
    "created": "Создана",
    "created_by": "Постановщик",
    "deadline": "Крайний срок",
    "defer": "Отложить",
    "deferred": "Отложенные",
    "details": "Просмотр задачи",
    "find": "Поиск по названию",
    "history": "История",
    "in_progress": "В работе",
    "install": "Установить",
    "installed": "Установлено",
    "installed_not": "Не установлено",
    "language": "Язык",
    "market": "Битрикс24 Маркет",
    "market_intro": "Приложения для вашей компании",
    "market_short": "Маркет",
    "moderator_of": "модератор: {}",
    "more": "Ещё",
    "my_tasks": "Мои задачи",
    "name": "Название",
    "next": "Вперёд",
    "no_access": "У вас нет доступа к этому приложению.",
    "no_deadline": "Без срока",
    "no_market_apps": "Приложений нет",
    "no_task": "Задача не найдена или доступ запрещён.",
    "no_tasks": "Подходящих задач нет",
    "nobody": "нет",
    "open": "Открыть",
    "ordinary": "сотрудник",
    "outsider": "наблюдатель некоторых задач",
    "page": "Страницы",
    "pause": "Приостановить",
    "people": "Люди",
    "previous": "Назад",
    "project": "Проект",
    "projects": "Проекты",
    "refused": "Действие над задачей не разрешено",
    "renew": "Возобновить",
    "responsible": "Исполнитель",
    "row_menu": "Действия: {}",
    "select_person": "Выберите сотрудника",
    "select_row": "Отметить: {}",
    "selected": "Отмечено",
    "setup_needed": "Настройка не завершена",
    "start": "Начать",
    "status": "Статус",
    "task": "Задача",
    "tasks": "Задачи",
    "total": "Всего",
    "under_the_hood": "Под капотом",
    "uninstall": "Удалить",
    "uninstall_clean": "удалить настройки и данные",
    "update": "Установить заново",
    "user_tasks": "Задачи: {}",
    "vendor_text": "Переводит сразу много задач в статус «Отложена».",
}
WORDS = {"en": ENGLISH, "ru": RUSSIAN}

STATUSES = {
    "en": {
        1: "New",
        2: "Pending",
        3: "In progress",
        4: "Pending review",
        5: "Completed",
        6: "Deferred",
        7: "Declined",
    },
    "ru": {
        1: "Новая",
        2: "Ждёт выполнения",
        3: "Выполняется",
        4: "Ждёт контроля",
        5: "Завершена",
        6: "Отложена",
        7: "Отклонена",
    },
}
MONTHS = {
    "en": ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    "ru": ["янв", "фев", "мар", "апр", "мая", "июн", "июл", "авг", "сен", "окт", "ноя", "дек"],
}


def words_for(language: str) -> dict[str, str]:
    return WORDS.get(language, ENGLISH)


def status_name(status: int, language: str) -> str:
    return STATUSES.get(language, STATUSES["en"])[status]


def date_words(moment: datetime, now: datetime, language: str) -> str:
    """Day, month and time of an already local moment; the year only when it is another one than now."""
    month = MONTHS.get(language, MONTHS["en"])[moment.month - 1]
    day = f"{moment.day} {month}" if language == "ru" else f"{month} {moment.day}"
    year = "" if moment.year == now.year else f" {moment.year}"
    return f"{day}{year}, {moment:%H:%M}"


def overdue_words(days: int, language: str) -> str:
    """How long ago a deadline passed, short: "− 3 days"."""
    if language == "ru":
        return f"− {days // 30} мес." if days >= 60 else f"− {days} дн." if days else "сегодня"
    if days >= 60:
        return f"− {days // 30} months"
    return f"− {days} days" if days > 1 else "− 1 day" if days else "today"
