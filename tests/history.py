"""Fills a database with rows of any version of the app: what `tests/test_migrations.py` runs before an upgrade."""

import itertools
import json
import uuid
from datetime import UTC, datetime, timedelta

from django.db import connection, models
from django.db.migrations.loader import MigrationLoader

ROWS = 3  # per table; the last one has NULL in every column that allows it
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def fill(migration, first_number):
    """Add ROWS rows to every table, as the models were at `migration`. Prints each table with its columns as JSON.

    No two columns of a row have the same value, booleans and NULL aside: exchanged columns would be noticed.
    """
    apps = MigrationLoader(connection).project_state(("defer", migration)).apps
    numbers = itertools.count(first_number)
    waiting, made = list(apps.get_app_config("defer").get_models()), {}
    while waiting:
        model = next(model for model in waiting if all(target in made for target in _required(model)))
        waiting.remove(model)
        made[model] = [model.objects.create(**_values(model, row, made, numbers)) for row in range(ROWS)]
    for rows in made.values():
        for row in rows[: ROWS - 1]:
            _link(row, rows.index(row), made)
    tables = {model._meta.db_table: [field.column for field in model._meta.local_fields] for model in made}
    print(json.dumps(tables))


def _required(model):
    """The models of which a row must exist before a row of `model` can."""
    return [field.related_model for field in model._meta.local_fields if field.is_relation and not field.null]


def _values(model, row, made, numbers):
    values = {}
    for field in model._meta.local_fields:
        if field.is_relation and not field.null:
            values[field.name] = made[field.related_model][row]
        elif not (isinstance(field, models.AutoField) or field.is_relation or (field.null and row == ROWS - 1)):
            values[field.name] = _value(field, row, next(numbers))
    return values


def _value(field, row, number):
    match field:
        case models.BooleanField():
            return row == 0
        case models.DateTimeField():
            return NEW_YEAR + timedelta(minutes=number)
        case models.UUIDField():
            return uuid.UUID(int=number)
        case models.JSONField():
            return {"number": number}
        case models.CharField() | models.TextField():
            return f"{number} {field.name}"[: field.max_length]
    return number


def _link(row, index, made):
    """Fill the foreign keys that may be NULL: with the row of the same index."""
    for field in row._meta.local_fields:
        if field.is_relation and field.null:
            setattr(row, field.name, made[field.related_model][index])
    row.save()
