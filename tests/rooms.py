"""The rooms of b24app/, measured from its imports: `python -m tests.rooms` (or `make rooms`) prints them.

A room is a package or a module directly in b24app/. A room is one floor above the highest room that it imports.
Imports inside functions count too.
"""

import ast
import sys
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "b24app"
APART = {"sandbox", "migrations"}  # the sandbox is a project of its own; migrations are history
MOST_FLOORS = 7


def imports_of(source, module, is_package=False):
    """The absolute names that `source` imports."""
    package = module if is_package else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            found |= {word.value for word in node.args if isinstance(word, ast.Constant)}
    return found


def _called(node):
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def modules():
    """For each module of b24app/: its name, its source, and whether it is a package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        words = path.relative_to(PACKAGE.parent).with_suffix("").parts
        is_package = words[-1] == "__init__"
        yield ".".join(words[:-1] if is_package else words), path.read_text(), is_package


def room_of(name):
    """The room of a module: "engine" for "b24app.engine.jobs", "" for the package itself or a foreign name."""
    words = name.split(".")
    return words[1] if words[0] == "b24app" and len(words) > 1 else ""


def arrows():
    """For each room, the rooms that it imports."""
    found = defaultdict(set)
    for module, source, is_package in modules():
        room = room_of(module)
        if room and room not in APART:
            found[room] |= {room_of(name) for name in imports_of(source, module, is_package)} - {room, "", *APART}
    return dict(found)


def floors(found):
    """For each room, its floor, counted from 1. Raises ValueError if rooms import each other in a circle."""
    floor = {}

    def climb(room, path):
        if room in path:
            raise ValueError(" -> ".join([*path[path.index(room) :], room]))
        if room not in floor:
            floor[room] = 1 + max((climb(below, [*path, room]) for below in found.get(room, ())), default=0)
        return floor[room]

    for room in found:
        climb(room, [])
    return floor


def main():
    found = arrows()
    try:
        floor = floors(found)
    except ValueError as circle:
        sys.exit(f"These rooms import each other in a circle: {circle}")
    highest = max(floor.values())
    print("Each room of b24app/, from the top floor down, and the rooms that it imports:\n")
    for room in sorted(found, key=lambda room: (-floor[room], room)):
        print(f"  floor {floor[room]}  {room:12}{', '.join(sorted(found[room])) or '(none)'}")
    print(f"\n{len(found)} rooms on {highest} floors, {sum(map(len, found.values()))} imports between rooms, no circle")
    if highest > MOST_FLOORS:
        sys.exit(f"Too many floors: at most {MOST_FLOORS} are allowed.")


if __name__ == "__main__":
    main()
