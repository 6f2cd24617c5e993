"""Demo data: portals with people, projects and tasks that one could believe; the same on every start."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product

from django.db import models, transaction

from . import clock
from .models import Portal, Project, Task, User

FIRST_TASK = 21  # the first task of every portal: the same numbers mean other tasks elsewhere
PENDING, IN_PROGRESS, CONTROL, COMPLETED, DEFERRED = 2, 3, 4, 5, 6


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
    """So many tasks of one status between the same people."""

    count: int
    status: int
    responsible: int
    creators: tuple[int, ...]  # one of them each
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


Projects = Sequence[tuple[Project, set[int]]]  # each with its members' numbers


def fill(patterns: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    """Every pattern with every word in its gap."""
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

ADMIN, BOSS, WORKER, EDITOR, OUTSIDER = 1, 3, 5, 8, 12  # the same numbers everywhere, for other people

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
        Sort(4, CONTROL, WORKER, (BOSS,)),
        Sort(4, CONTROL, OUTSIDER, (ADMIN,)),
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


def demo(portals: Iterable[Portal]) -> None:
    """Furnish each portal that has no people yet; one with an unknown key becomes the smallest company."""
    now = clock.now().replace(minute=0, second=0, microsecond=0)
    for portal in portals:
        if not portal.users.exists():
            furnish(portal, COMPANIES.get(portal.key, UMBRELLA), now)


@transaction.atomic
def furnish(portal: Portal, company: Company, now: datetime) -> None:
    """Make the portal that company: its name, people, projects and tasks, with dates around `now`."""
    portal.name, portal.language, portal.zone = company.name, company.language, company.zone
    portal.save()
    users = _hire(portal, company.people)
    projects = [(_found(portal, group, users), set(group.members)) for group in company.groups]
    _assign(portal, company, users, projects, now)


def _hire(portal: Portal, people: Sequence[Person]) -> dict[int, User]:
    users = {
        person.number: User.objects.create(
            portal=portal,
            number=person.number,
            name=person.name,
            last_name=person.last_name,
            position=person.position,
            zone=portal.zone,
            language=person.language,
            is_admin=person.is_admin,
        )
        for person in people
    }
    for person in people:
        if person.boss:
            User.objects.filter(pk=users[person.number].pk).update(boss=users[person.boss])
    return users


def _found(portal: Portal, group: Group, users: dict[int, User]) -> Project:
    project = Project.objects.create(portal=portal, number=group.number, name=group.name)
    project.members.set([users[number] for number in group.members])
    project.editors.set([users[number] for number in group.editors])
    return project


def _assign(portal: Portal, company: Company, users: dict[int, User], projects: Projects, now: datetime) -> None:
    """Write the company's tasks, shuffled: neighbours in a list should differ."""
    chance = random.Random(company.name)  # noqa: S311 (not a secret: the same tasks on every start)
    sorts = [sort for sort in company.sorts for _ in range(sort.count)]
    chance.shuffle(sorts)
    titles = chance.sample(company.titles, len(sorts))
    numbers = _numbers(chance)
    tasks = [
        _task(portal, next(numbers), title, sort, users, projects, (now - age).replace(hour=9), now, chance)
        for title, sort, age in zip(titles, sorts, _ages(len(sorts)), strict=True)
    ]
    saved = Task.objects.bulk_create(tasks)
    pairs = list(zip(saved, sorts, strict=True))
    _join(Task.accomplices.through, [(task, users[n]) for task, sort in pairs for n in sort.accomplices])
    _join(Task.auditors.through, [(task, users[n]) for task, sort in pairs for n in sort.auditors])


def _numbers(chance: random.Random) -> Iterator[int]:
    """Rising task numbers with gaps: in real life tasks get deleted."""
    number = FIRST_TASK
    while True:
        yield number
        number += chance.choice((1, 1, 1, 2, 3))


def _ages(count: int) -> list[timedelta]:
    """From eight months down to a day: the smaller a task's number, the older it is."""
    return [timedelta(days=1 + 240 * (count - 1 - index) // count) for index in range(count)]


def _task(
    portal: Portal,
    number: int,
    title: str,
    sort: Sort,
    users: dict[int, User],
    projects: Projects,
    created: datetime,
    now: datetime,
    chance: random.Random,
) -> Task:
    creator = users[chance.choice(sort.creators)]
    responsible = users[sort.responsible]
    # Everything that happened to a task lies between its creation and now.
    changed = created + (now - created) * chance.uniform(0.1, 0.95)
    started = sort.status in (IN_PROGRESS, CONTROL, COMPLETED)
    return Task(
        portal=portal,
        number=number,
        title=title,
        status=sort.status,
        priority=2 if chance.random() < 0.08 else 1,
        creator=creator,
        responsible=responsible,
        project=_project(projects, (sort.responsible, creator.number), chance),
        deadline=_deadline(now, chance),
        task_control=sort.status == CONTROL or chance.random() < 0.2,
        created_date=created,
        changed_date=changed,
        activity_date=changed + (now - changed) * chance.random(),
        status_changed_date=changed,
        status_changed_by=responsible if started else creator,
        date_start=created + (changed - created) * 0.5 if started else None,
        closed_date=changed if sort.status == COMPLETED else None,
    )


def _project(projects: Projects, people: tuple[int, int], chance: random.Random) -> Project | None:
    """One that both are members of, or none: four in ten tasks are nobody's project."""
    if chance.random() < 0.4:
        return None
    common = [project for project, members in projects if members.issuperset(people)]
    return chance.choice(common) if common else None


def _deadline(now: datetime, chance: random.Random) -> datetime | None:
    """Past, near, far or none, in working hours."""
    low, high = chance.choice(((-120, -1), (-10, -1), (0, 3), (1, 7), (8, 90), (0, 0)))
    if (low, high) == (0, 0):
        return None
    day = now + timedelta(days=chance.randint(low, high))
    return day.replace(hour=chance.choice((8, 11, 14, 17)))


def _join(through: type[models.Model], pairs: Sequence[tuple[Task, User]]) -> None:
    through._default_manager.bulk_create(through(task=task, user=user) for task, user in pairs)
