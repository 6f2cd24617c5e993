"""Reads settings strictly: a value that cannot be understood is an error that names its setting, never a default."""

import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import environ
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")

FLAGS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
OURS = "B24_"  # names that begin like this are ours; others only if they look like a misspelled setting
ALIKE = 0.9  # similarity from which a name counts as misspelled
ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?(\w+)\s*=", re.MULTILINE)


class Environment:
    """The environment of the process, and a file whose values count where the environment has none.

    Blanks around a value do not count, and an empty value counts as not set. Every method raises ImproperlyConfigured
    with the name of the setting, and without its value: it may be a secret.
    """

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.in_file: set[str] = set()

    def read_file(self, path: Path) -> None:
        """Add the values of this file, if it exists. The environment takes precedence."""
        if path.is_file():
            self.in_file = set(ASSIGNMENT.findall(path.read_text()))
            environ.Env.read_env(path)

    def text(self, name: str, default: str = "") -> str:
        self.known.add(name)
        return os.environ.get(name, "").strip() or default

    def flag(self, name: str, default: bool = False) -> bool:
        return self._read(name, default, lambda text: FLAGS[text.lower()], "must be true or false")

    def whole(self, name: str, default: int) -> int:
        return self._read(name, default, int, "must be a whole number")

    def decimal(self, name: str, default: float) -> float:
        return self._read(name, default, float, "must be a number")

    def words(self, name: str, default: list[str]) -> list[str]:
        """A list that is separated by commas."""
        words = [word.strip() for word in self.text(name).split(",")]
        return [word for word in words if word] or default

    def database(self, name: str, default: str) -> dict[str, Any]:
        """The address of a database as Django's configuration of it."""
        return self._read(name, self._database(default), self._database, "must be the address of a database")

    def unknown(self) -> dict[str, str]:
        """Names that look like settings and are none, with the setting that was probably meant ("" if unclear)."""
        found = {}
        for name in sorted({*os.environ, *self.in_file} - self.known):
            meant = difflib.get_close_matches(name, self.known, n=1, cutoff=ALIKE)
            if meant or name.startswith(OURS):
                found[name] = meant[0] if meant else ""
        return found

    def _read(self, name: str, default: T, convert: Callable[[str], T], rule: str) -> T:
        text = self.text(name)
        if not text:
            return default
        try:
            return convert(text)
        except (KeyError, ValueError, ImproperlyConfigured):
            raise ImproperlyConfigured(f"{name} {rule}.") from None

    @staticmethod
    def _database(address: str) -> dict[str, Any]:
        config: dict[str, Any] = environ.Env.db_url_config(address)
        if config["ENGINE"] not in environ.Env.DB_SCHEMES.values():
            raise ValueError("unknown scheme")
        return config
