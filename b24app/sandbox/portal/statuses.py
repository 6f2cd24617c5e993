"""The real statuses of a task and their names on the pages, in English and Russian."""

NEW, PENDING, IN_PROGRESS, AWAITING_CONTROL, COMPLETED, DEFERRED, DECLINED = range(1, 8)  # new and declined: legacy

NAMES = {
    "en": {
        NEW: "New",
        PENDING: "Pending",
        IN_PROGRESS: "In progress",
        AWAITING_CONTROL: "Pending review",
        COMPLETED: "Completed",
        DEFERRED: "Deferred",
        DECLINED: "Declined",
    },
    "ru": {
        NEW: "Новая",
        PENDING: "Ждёт выполнения",
        IN_PROGRESS: "Выполняется",
        AWAITING_CONTROL: "Ждёт контроля",
        COMPLETED: "Завершена",
        DEFERRED: "Отложена",
        DECLINED: "Отклонена",
    },
}


def status_name(status: int, language: str) -> str:
    return NAMES.get(language, NAMES["en"])[status]
