"""The companies of the demo: people, projects, titles of tasks, and how many tasks of each sort."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from .statuses import AWAITING_CONTROL, COMPLETED, DEFERRED, IN_PROGRESS, PENDING


@dataclass(frozen=True)
class Person:
    number: int
    name: str
    last_name: str
    position: str
    language: str
    is_admin: bool = False
    boss: int = 0  # the boss's number


@dataclass(frozen=True)
class Group:
    number: int
    name: str
    members: tuple[int, ...]
    editors: tuple[int, ...]


@dataclass(frozen=True)
class Sort:
    """A number of tasks with the same status and people."""

    count: int
    status: int
    responsible: int
    creators: tuple[int, ...]  # each task has one of them
    accomplices: tuple[int, ...] = ()
    auditors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Company:
    name: str
    language: str
    zone: str
    people: tuple[Person, ...]
    groups: tuple[Group, ...]
    sorts: tuple[Sort, ...]
    titles: tuple[str, ...]


def fill(patterns: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    """Every pattern, filled with every word."""
    return tuple(pattern.format(word) for pattern, word in product(patterns, words))


ENGLISH = fill(
    (
        "Prepare the offer for {}",
        "Call {} about the renewal",
        "Check the delivery note from {}",
        "Send the signed contract to {}",
        "Agree the payment schedule with {}",
        "Update the price list for {}",
        "Collect feedback from {}",
        "Plan the workshop with {}",
        "Answer the complaint of {}",
        "Book travel for the visit to {}",
        "Reconcile open invoices of {}",
        "Translate the data sheets for {}",
        "Review the order forecast of {}",
        "Arrange samples for {}",
    ),
    (
        "Nordwind Logistics",
        "Bakery Lindqvist",
        "Müller & Söhne",
        "Harbour Street Clinic",
        "Café Zoë",
        "Stadtwerke Lüneburg",
        "Oliveira Têxteis",
        "Green Valley Farms",
        "Kowalski Łódź",
        "Brightside Hotels",
    ),
)
RUSSIAN = fill(
    (
        "Подготовить коммерческое предложение: {}",
        "Согласовать договор: {}",
        "Выставить счёт: {}",
        "Проверить отгрузку: {}",
        "Обновить карточку клиента: {}",
        "Провести демонстрацию: {}",
        "Собрать документы для тендера: {}",
        "Уточнить реквизиты: {}",
        "Подготовить акт сверки: {}",
        "Продлить гарантию: {}",
    ),
    (
        "ООО «Вектор»",
        "завод «Прогресс»",
        "ИП Смирнова",
        "«Северный ветер»",
        "АО «Технолайн»",
        "клиника «Здравие»",
        "школа № 57",
        "«Уральские мельницы»",
    ),
)
OFFICE = fill(
    (
        "Order new {}",
        "Count the {} before the move",
        "Find a supplier of {}",
        "Sort out the {} in the archive",
    ),
    ("pallet labels", "parking permits", "safety shoes", "price tags", "door signs", "toner cartridges"),
)

ADMIN, BOSS, WORKER, EDITOR, OUTSIDER = 1, 3, 5, 8, 12  # the same numbers in every company, for different people

ACME = Company(
    name="Acme Trading",
    language="en",
    zone="Europe/Berlin",
    people=(
        Person(ADMIN, "Anna", "Keller", "Head of IT", "en", is_admin=True),
        Person(WORKER, "Jonas", "Weber", "Account manager", "en", boss=BOSS),
        Person(BOSS, "Дмитрий", "Соколов", "Руководитель отдела продаж", "ru"),
        Person(EDITOR, "Ольга", "Кузнецова", "Координатор проектов", "ru"),
        Person(OUTSIDER, "Tomás", "Oliveira", "Quality auditor", "en"),
    ),
    groups=(
        Group(11, "Website relaunch", (ADMIN, WORKER, EDITOR), (EDITOR,)),
        Group(12, "Выставка «Весна»", (BOSS, WORKER, EDITOR), (EDITOR,)),
        Group(14, "Warehouse move", (ADMIN, BOSS, WORKER), (ADMIN,)),
    ),
    # 240 tasks. In progress with the worker responsible, helping or creator: 120 + 6 + 4 = 130.
    sorts=(
        Sort(72, IN_PROGRESS, WORKER, (ADMIN, EDITOR, BOSS)),
        Sort(28, IN_PROGRESS, WORKER, (WORKER,), auditors=(OUTSIDER,)),
        Sort(20, IN_PROGRESS, WORKER, (BOSS, OUTSIDER), accomplices=(EDITOR,)),
        Sort(6, IN_PROGRESS, EDITOR, (BOSS,), accomplices=(WORKER,)),
        Sort(4, IN_PROGRESS, OUTSIDER, (WORKER,)),
        Sort(14, IN_PROGRESS, EDITOR, (ADMIN, BOSS)),
        Sort(8, IN_PROGRESS, BOSS, (ADMIN,)),
        Sort(22, PENDING, WORKER, (ADMIN, BOSS, EDITOR)),
        Sort(18, PENDING, EDITOR, (BOSS,)),
        Sort(8, DEFERRED, WORKER, (BOSS, WORKER)),
        Sort(10, DEFERRED, OUTSIDER, (EDITOR,)),
        Sort(12, COMPLETED, WORKER, (ADMIN, BOSS)),
        Sort(10, COMPLETED, EDITOR, (EDITOR,)),
        Sort(4, AWAITING_CONTROL, WORKER, (BOSS,)),
        Sort(4, AWAITING_CONTROL, OUTSIDER, (ADMIN,)),
    ),
    titles=(*ENGLISH, *RUSSIAN, *OFFICE),
)

SMALL_COMPANY = (
    Sort(14, IN_PROGRESS, WORKER, (ADMIN, BOSS)),
    Sort(6, PENDING, WORKER, (WORKER, EDITOR)),
    Sort(4, IN_PROGRESS, EDITOR, (BOSS,), auditors=(OUTSIDER,)),
    Sort(3, DEFERRED, WORKER, (BOSS,)),
    Sort(3, COMPLETED, EDITOR, (WORKER,)),
)

UMBRELLA = Company(
    name="Umbrella Gardens",
    language="en",
    zone="Europe/London",
    people=(
        Person(ADMIN, "Grace", "Okafor", "Office manager", "en", is_admin=True),
        Person(WORKER, "Liam", "Byrne", "Landscape planner", "en", boss=BOSS),
        Person(BOSS, "Priya", "Nair", "Head of projects", "en"),
        Person(EDITOR, "Zoë", "Bennett", "Site coordinator", "en"),
        Person(OUTSIDER, "Håkon", "Dahl", "Surveyor", "en"),
    ),
    groups=(Group(11, "Botanic garden", (ADMIN, WORKER, EDITOR), (EDITOR,)),),
    sorts=SMALL_COMPANY,
    titles=(*ENGLISH, *OFFICE),
)

OLD_FACTORY = Company(
    name="Старый завод",
    language="ru",
    zone="Europe/Moscow",
    people=(
        Person(ADMIN, "Пётр", "Лебедев", "Системный администратор", "ru", is_admin=True),
        Person(WORKER, "Мария", "Ершова", "Инженер", "ru", boss=BOSS),
        Person(BOSS, "Николай", "Громов", "Главный инженер", "ru"),
        Person(EDITOR, "Алёна", "Щукина", "Технолог", "ru"),
        Person(OUTSIDER, "Глеб", "Юдин", "Аудитор", "ru"),
    ),
    groups=(Group(11, "Модернизация цеха", (ADMIN, WORKER, EDITOR), (EDITOR,)),),
    sorts=SMALL_COMPANY,
    titles=RUSSIAN,
)

COMPANIES = {"acme": ACME, "umbrella": UMBRELLA, "oldbox": OLD_FACTORY}  # by the portal's key
