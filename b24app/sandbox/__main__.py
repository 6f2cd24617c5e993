"""Start the sandbox: `python -m b24app.sandbox --seed demo`. Every option can also be set in the environment."""

import argparse
import os
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from zlib import crc32

from gunicorn.app.base import BaseApplication

PACKAGE = __package__ or ""
THREADS = 32
DEMO_MODES = "acme=cloud,umbrella=box,oldbox=old_box"


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {PACKAGE}", description=__doc__)
    option(
        parser,
        "portals",
        "acme=localhost:8800,umbrella=localhost:8802,oldbox=localhost:8803",
        "key=host:port, …",
    )
    option(parser, "oauth", "localhost:8801", "host:port of the authorization server")
    option(parser, "database", "sandbox.sqlite3", "path of the SQLite file")
    option(parser, "app-origin", "http://127.0.0.1:8000", "where the app listens")
    option(parser, "client-id", "app.sandbox", "the app's OAuth client")
    option(parser, "client-secret", "sandbox-secret", "… and its secret")
    option(parser, "app-code", "example.defer", "the app's code in the Market")
    option(parser, "modes", "", f"key=mode, …: cloud, box or old_box; the demo has {DEMO_MODES}")
    option(parser, "clock-file", os.environ.get("CLOCK_FILE", ""), "a file that moves the clock: see portal/clock.py")
    option(parser, "seed", "none", "demo: three portals with people and tasks; none: empty portals")
    return parser.parse_args()


def option(parser: argparse.ArgumentParser, name: str, default: str, text: str) -> None:
    variable = "SANDBOX_" + name.upper().replace("-", "_")
    parser.add_argument(f"--{name}", default=os.environ.get(variable, default), help=f"{text} ({variable})")


def find_busy(ports: list[int]) -> list[int]:
    """The ports at which another process listens."""
    busy = []
    for port in ports:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            busy.append(port)
    return busy


def forget_other_tables(database: Path) -> None:
    """Delete a database that another version of models.py created, because the sandbox has no migrations."""
    version = crc32((Path(__file__).parent / "portal" / "models.py").read_bytes()) & 0x7FFFFFFF
    with closing(sqlite3.connect(database)) as connection:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found not in (0, version):
            print("The sandbox has new tables. The data of its portals is deleted.")
            connection.close()
            for path in database.parent.glob(f"{database.name}*"):
                path.unlink()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


def prepare(arguments: argparse.Namespace) -> None:
    """Create the tables, the portals and the app, if they do not exist yet."""
    import django
    from django.core.management import call_command
    from django.db import connections

    forget_other_tables(Path(os.environ["SANDBOX_DATABASE"]))
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    create_portals(arguments)
    register_app(arguments)
    furnish(arguments)
    connections.close_all()


def create_portals(arguments: argparse.Namespace) -> None:
    from .portal.models import Portal

    for entry in arguments.portals.split(","):
        key, _, host = entry.partition("=")
        place = {"host": host.lower(), "first_host": host.lower()}
        Portal.objects.update_or_create(key=key, defaults=place, create_defaults={**place, "name": key.capitalize()})


def register_app(arguments: argparse.Namespace) -> None:
    from .portal.models import App

    App.objects.update_or_create(
        client_id=arguments.client_id,
        defaults={
            "client_secret": arguments.client_secret,
            "code": arguments.app_code,
            "name": "Defer",
            "origin": arguments.app_origin,
        },
    )


def furnish(arguments: argparse.Namespace) -> None:
    """Set the modes of the portals, and fill them with demo data if that was asked for."""
    from .portal import seed
    from .portal.models import Portal
    from .weather import modes

    if arguments.seed == "demo":
        arguments.modes = arguments.modes or DEMO_MODES
    for entry in filter(None, arguments.modes.split(",")):
        key, _, mode = entry.partition("=")
        modes.make(key, mode)
    if arguments.seed == "demo" and not Portal.objects.filter(users__isnull=False).exists():
        seed.demo(Portal.objects.order_by("pk"))


class Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn with one worker process, whose memory holds limits and knobs."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self.options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        from . import wsgi
        from .portal import knobs

        knobs.load()
        return wsgi.application


def main() -> None:
    arguments = read_arguments()
    hosts = [entry.partition("=")[2] for entry in arguments.portals.split(",")]
    ports = [int(host.rpartition(":")[2]) for host in [*hosts, arguments.oauth]]
    for port in find_busy(ports):
        sys.exit(f"Port {port} is busy: another process listens there. Stop it, or give the sandbox another port.")
    os.environ["SANDBOX_DATABASE"] = os.path.abspath(arguments.database)
    os.environ["SANDBOX_OAUTH"] = arguments.oauth
    os.environ["CLOCK_FILE"] = arguments.clock_file
    os.environ["DJANGO_SETTINGS_MODULE"] = f"{PACKAGE}.settings"
    prepare(arguments)

    def announce(server: Any) -> None:
        print(f"The sandbox is ready: portals http://{' http://'.join(hosts)}, OAuth http://{arguments.oauth}")
        sys.stdout.flush()

    Server(
        {
            "bind": [f"127.0.0.1:{port}" for port in ports],
            "worker_class": "gthread",
            "workers": 1,
            "threads": THREADS,
            "keepalive": 75,
            "timeout": 0,  # slow answers are often intended
            "graceful_timeout": 1,
            "control_socket_disable": True,  # several sandboxes of one user would share it
            "loglevel": "warning",
            "when_ready": announce,
        }
    ).run()


if __name__ == "__main__":
    main()
