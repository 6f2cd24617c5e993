"""The entries of apps in the menus, toolbars and tabs of the desktop."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ..portal.models import Placement
from .desk import Desk


@dataclass(frozen=True)
class MenuItem:
    """An app's entry in a menu, or a tab of a card."""

    placement: Placement
    title: str
    options: str  # JSON, for the page's script


def placement_items(desk: Desk, code: str, options: Mapping[str, str]) -> list[MenuItem]:
    """The entries of all apps with this placement. An unfinished installation has none."""
    rows = Placement.objects.filter(
        placement=code,
        installation__portal=desk.portal,
        installation__active=True,
        installation__installed=True,
    ).select_related("installation__app")
    return [MenuItem(row, title_of(row, desk.language), json.dumps(options)) for row in rows.order_by("pk")]


def title_of(placement: Placement, language: str) -> str:
    """The title in the person's language, else the plain title, else the app's name."""
    titles = placement.lang_all.get(language) if isinstance(placement.lang_all, dict) else None
    own = titles.get("TITLE") if isinstance(titles, dict) else None
    return str(own or placement.title or placement.installation.app.name)
