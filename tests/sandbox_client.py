"""A sandbox process for tests, and its control interface as Python methods.

    sandbox = Sandbox.start(tmp_path, portals=("acme",))
    bob = sandbox.user("acme", name="Bob")
    tasks = sandbox.tasks("acme", count=120, creator=bob, status=3)
    sandbox.install("acme")
    opening = sandbox.open("acme", bob, placement="TASK_USER_LIST_TOOLBAR", options={"USER_ID": bob})
    sandbox.rest("acme", "tasks.task.pause", {"taskId": tasks[0]}, token=opening["access"])
    sandbox.truth("acme")  # [{"task": 1, "before": 3, "after": 2, "person": 1, …}]
    sandbox.stop()

Portals are named by key; people, projects and tasks by their numbers at that portal.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import requests

START_TIMEOUT = 60  # seconds
ANSWER_TIMEOUT = 30  # seconds
Answer = requests.Response


def free_ports(count: int) -> list[int]:
    """Different free ports, which the caller may use later.

    They are below the range from which the system assigns ports. Each process of a parallel run has a separate range.
    """
    return [next(port for port in _ports if _is_free(port)) for _ in range(count)]


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10
_ports = iter(random.sample(range(20_000 + 1_000 * _process, 21_000 + 1_000 * _process), 1_000))


def launch(package: str, directory: Path, options: dict[str, str], cwd: Path | None) -> subprocess.Popen[bytes]:
    """Start the sandbox `package` with its database, log and clock file in `directory`."""
    files = {"database": directory / "sandbox.sqlite3", "clock-file": directory / "clock"}
    words = [f"--{name}={value}" for name, value in (options | files).items()]
    with (directory / "sandbox.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", package, *words],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=cwd or Path(__file__).parent.parent,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )


@dataclass
class SandboxProcess:
    """A running sandbox, as an app sees it: `portals` maps keys to hosts (`localhost:port`), `oauth` is a host."""

    process: subprocess.Popen[bytes]
    portals: dict[str, str]
    oauth: str
    log: Path
    client_id: str
    client_secret: str
    clock_file: Path
    session: requests.Session = field(default_factory=requests.Session)

    @classmethod
    def start(
        cls,
        directory: Path,
        portals: Sequence[str] = ("acme",),
        seed: str = "none",
        app_origin: str = "http://127.0.0.1:8000",
        client_id: str = "app.sandbox",
        client_secret: str = "sandbox-secret",
        package: str = "b24app.sandbox",
        cwd: Path | None = None,
    ) -> Self:
        """Start a process on free ports, with database and log in `directory`, and wait until it answers."""
        *ports, oauth_port = free_ports(len(portals) + 1)
        hosts = {key: f"localhost:{port}" for key, port in zip(portals, ports, strict=True)}
        options = {
            "portals": ",".join(f"{key}={host}" for key, host in hosts.items()),
            "oauth": f"localhost:{oauth_port}",
            "app-origin": app_origin,
            "client-id": client_id,
            "client-secret": client_secret,
            "seed": seed,
        }
        process = launch(package, directory, options, cwd)
        files = {"log": directory / "sandbox.log", "clock_file": directory / "clock"}
        sandbox = cls(process, hosts, options["oauth"], client_id=client_id, client_secret=client_secret, **files)
        sandbox.wait_until_ready()
        return sandbox

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while "is ready" not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError(f"The sandbox did not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        self.session.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def url(self, portal: str, path: str = "") -> str:
        return f"http://{self.portals[portal]}/{path}"

    def rest(
        self,
        portal: str,
        method: str,
        params: dict[str, Any] | None = None,
        token: str | None = None,
        **kwargs: Any,
    ) -> Answer:
        """POST a REST call with a JSON body and the token in `auth`. Returns the raw answer; follows no redirect."""
        body = dict(params or {})
        if token is not None:
            body["auth"] = token
        return self.post(self.url(portal, f"rest/{method}"), json=body, **kwargs)

    def batch(self, portal: str, cmd: Any, token: str, halt: Any = 0, **kwargs: Any) -> Answer:
        return self.rest(portal, "batch", {"halt": halt, "cmd": cmd}, token, **kwargs)

    def post(self, url: str, **kwargs: Any) -> Answer:
        return self.session.post(url, allow_redirects=False, timeout=ANSWER_TIMEOUT, **kwargs)

    def refresh(self, refresh_token: str, **changes: Any) -> Answer:
        """Exchange a refresh token at the authorization server. A parameter changed to None is left out."""
        fields = {
            "grant_type": "refresh_token",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "refresh_token": refresh_token,
        } | changes
        fields = {name: value for name, value in fields.items() if value is not None}
        return self.post(f"http://{self.oauth}/oauth/token/", data=fields)


class Sandbox(SandboxProcess):
    """A running sandbox with its control interface. b24app/sandbox/control/ documents the verbs."""

    def control(self, verb: str, /, **body: Any) -> Any:
        """Run one control verb and return its result. Raises RuntimeError with the reason of a refusal."""
        answer = self.post(f"http://{self.oauth}/control/{verb}", json=body)
        content = answer.json()
        if "error" in content:
            raise RuntimeError(content["error"])
        return content["result"]

    def many(self, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        """Run several verbs in one request and return their results."""
        return self.control("many", calls=calls)

    def reset(self) -> None:
        """Delete everything except the empty portals and the app."""
        self.control("reset")

    def user(self, portal: str, **fields: Any) -> int:
        return self.control("user", portal=portal, **fields)

    def project(self, portal: str, **fields: Any) -> int:
        return self.control("project", portal=portal, **fields)

    def tasks(self, portal: str, tasks: list[dict[str, Any]] | None = None, **common: Any) -> list[int]:
        """Create tasks from a list, or `count` equal ones; keywords apply to all. Returns their numbers."""
        given = {} if tasks is None else {"tasks": tasks}
        return self.control("tasks", portal=portal, **given, **common)

    def task(self, portal: str, **fields: Any) -> int:
        return self.tasks(portal, [fields])[0]

    def change_task(self, portal: str, task: int, **changes: Any) -> None:
        """Change a task without the app: status=, responsible=, deadline=, delete=True."""
        self.control("change_task", portal=portal, task=task, **changes)

    def states(self, portal: str, tasks: list[int] | None = None) -> dict[int, int]:
        """The real statuses by task number."""
        given = {} if tasks is None else {"tasks": tasks}
        found = self.control("task_states", portal=portal, **given)
        return {int(number): status for number, status in found.items()}

    def look(self, portal: str, task: int) -> dict[str, Any]:
        """One task and its log: {status, changes: [{before, after, method, person, token, request}]}."""
        return self.control("task", portal=portal, task=task)

    def install(self, portal: str, **fields: Any) -> dict[str, Any]:
        """Install the app, finished unless finished=False."""
        return self.control("install", portal=portal, **fields)

    def uninstall(self, portal: str, clean: bool = True) -> None:
        self.control("uninstall", portal=portal, clean=clean)

    def open(
        self, portal: str, user: int, placement: str = "DEFAULT", options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """One opening of the app: {url, query, fields, access, refresh, token}; POST `fields` to `url`."""
        return self.control("open", portal=portal, user=user, placement=placement, options=options or {})

    def access(self, portal: str, user: int) -> str:
        """A fresh access token of a new chain."""
        return self.open(portal, user)["access"]

    def expire(self, portal: str, **which: Any) -> int:
        """Let access tokens expire now: all, or user=, or token=; refresh=True for refresh tokens too."""
        return self.control("expire", portal=portal, **which)

    def revoke(self, portal: str, **which: Any) -> int:
        return self.control("revoke", portal=portal, **which)

    def tokens(self, portal: str, **which: Any) -> list[dict[str, Any]]:
        return self.control("tokens", portal=portal, **which)

    def settings(self, **knobs: Any) -> dict[str, Any]:
        """Turn knobs. Keywords have `__` for the dot: limits__operating=480. None restores the default."""
        return self.turn({name.replace("__", "."): value for name, value in knobs.items()})

    def turn(self, knobs: dict[str, Any]) -> dict[str, Any]:
        """Turn knobs by their names, for example {"acme/cost.tasks.task.defer": 0.33}."""
        return self.control("settings", **knobs)

    def keep_pace(self, scale: float) -> None:
        """Drain the request buckets `scale` times faster, as an app with this TIME_SCALE expects."""
        self.turn({"limits.bucket_drain": 2 * scale})

    def move_clock(self, to: float | str) -> None:
        """Move the clock to an ISO instant, or ahead by seconds, for all processes that read CLOCK_FILE."""
        self.control("time", to=to)

    def fault(self, method: str, kind: str, **fields: Any) -> int:
        """Add a fault: see b24app/sandbox/weather/faults.py."""
        return self.control("fault", method=method, kind=kind, **fields)

    def clear_faults(self) -> None:
        self.control("clear_faults")

    def truth(self, portal: str, since: int = 0) -> list[dict[str, Any]]:
        """All changes of real statuses, oldest first."""
        return self.control("truth", portal=portal, since=since)

    def requests(self, portal: str | None, since: int = 0) -> list[dict[str, Any]]:
        """All requests to the portal, or to the authorization server (None), oldest first."""
        return self.control("requests", portal=portal, since=since)
