"""One call of one REST method, and the table of all methods."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..portal.errors import wrong_auth_type
from ..portal.models import Installation, Portal, Request, Token, User

Params = dict[str, Any]


@dataclass
class Call:
    """Who calls, and what the PHP process of this request remembers."""

    portal: Portal
    user: User
    installation: Installation | None  # None: an incoming webhook
    token: Token | None
    scope: set[str]
    request: Request
    method: str = ""  # the one that runs now
    ends_at: float = float("inf")  # time.monotonic() at which the front end cuts the request
    start: int = 0  # of the page; removed from the parameters
    seen: dict[int, int] = field(default_factory=dict)  # task -> status at the first reading

    @property
    def app_id(self) -> int:
        return self.installation.app_id if self.installation is not None else 0

    def in_app(self) -> Installation:
        """The installation that calls. Raises WRONG_AUTH_TYPE for a webhook."""
        if self.installation is None:
            raise wrong_auth_type()
        return self.installation


@dataclass
class Page:
    """A paged result. The answer shows `next` and `total` beside the result."""

    rows: Any
    next: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class Method:
    name: str
    scopes: frozenset[str]  # the call needs one of them; none if empty
    run: Callable[[Call, Params], Any]

    def permitted(self, scope: set[str]) -> bool:
        return not self.scopes or bool(self.scopes & scope)


METHODS: dict[str, Method] = {}
Run = Callable[[Call, Params], Any]


def method(name: str, *scopes: str) -> Callable[[Run], Run]:
    """Register a function as the REST method `name`."""

    def register(run: Run) -> Run:
        METHODS[name] = Method(name, frozenset(scopes), run)
        return run

    return register
