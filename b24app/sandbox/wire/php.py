"""PHP's forms of data, as they show in the parameters and answers of a portal."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_plus

from ..portal import knobs

KEY = re.compile(r"\[([^\]]*)\]")


def parse_str(query: str) -> dict[str, Any]:
    """Read a query string as PHP does: `a[b]=1` is a map, `a[]=1` is a list, the last of repeated names wins."""
    pairs = (part.partition("=") for part in query.split("&"))
    return parse_pairs((unquote_plus(name), unquote_plus(value)) for name, _, value in pairs)


def parse_pairs(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in pairs:
        if name.strip():
            put(tree, name.lstrip(" "), value)
    return {key: listed(value) for key, value in tree.items()}


def put(tree: dict[str, Any], name: str, value: str) -> None:
    """Store the value in the tree at the path that the bracketed name describes."""
    root, bracket, rest = name.partition("[")
    root = root.replace(".", "_").replace(" ", "_")
    if not bracket or "]" not in rest:
        tree[name.replace(".", "_").replace(" ", "_").replace("[", "_")] = value
        return
    path = [root, *KEY.findall("[" + rest)]
    node = tree
    for step in path[:-1]:
        key = step or next_index(node)
        if not isinstance(node.get(key), dict):
            node[key] = {}
        node = node[key]
    node[path[-1] or next_index(node)] = value


def next_index(node: Mapping[str, Any]) -> str:
    numbers = [int(key) for key in node if key.isdigit()]
    return str(max(numbers) + 1) if numbers else "0"


def listed(value: Any) -> Any:
    """Turn maps with the keys 0..n-1 into lists, at every level."""
    if not isinstance(value, dict):
        return value
    inner = {key: listed(item) for key, item in value.items()}
    return list(inner.values()) if inner and counts_from_zero(inner) else inner


def counts_from_zero(value: Mapping[str, Any]) -> bool:
    return list(value) == [str(index) for index in range(len(value))]


def array(value: Mapping[str, Any], portal_key: str = "") -> Any:
    """A PHP array as JSON: `[]` if it is empty, a list if its keys are 0..n-1, else an object."""
    if not value:
        return [] if knobs.trap("empty_map_is_list", portal_key) else {}
    if counts_from_zero(value) and knobs.trap("list_for_numeric_keys", portal_key):
        return list(value.values())
    return dict(value)


def truthy(value: Any) -> bool:
    """PHP's (bool): "", "0", 0, null, [] are false; "false" is true."""
    return value not in ("", "0", 0, None, False) and value != [] and value != {}


def integer(value: Any) -> int:
    """PHP's (int): the leading digits, else 0."""
    if isinstance(value, bool | int | float):
        return int(value)
    if not isinstance(value, str):
        return int(bool(value))
    found = re.match(r"\s*[+-]?\d+", value)
    return int(found.group()) if found else 0


def is_numeric(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) or (
        isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+(\.\d*)?\s*", value) is not None
    )


def members(value: Any) -> list[Any]:
    """The values of a PHP array, or the one value in a list."""
    if isinstance(value, list):
        return value
    return list(value.values()) if isinstance(value, dict) else [value]
