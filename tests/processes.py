"""The app as an operator runs it: web, worker and beat as processes, with their own database and broker.

app.start("web", "worker", "beat")
app.kill("worker")  # kill -9
app.rows("select state, count(*) from defer_jobitem group by state")
app.python("from b24app.models import Portal; print(Portal.objects.count())")
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import requests

from tests.environment import ROOT, bare_environment

START_TIMEOUT = 30  # seconds
STOP_TIMEOUT = 15  # seconds
CELERY = ["-m", "celery", "-A", "b24app"]
COMMANDS = {
    "web": ["-m", "gunicorn", "b24app.wsgi"],
    "worker": [*CELERY, "worker", "--without-mingle", "--without-gossip", "--loglevel", "INFO"],
    "beat": [*CELERY, "beat", "--loglevel", "INFO"],
}


def wait_until(condition, seconds=START_TIMEOUT, what="it", pause=0.05):
    """Return the result of `condition` when it is true. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(pause)
    return found


@dataclass
class App:
    """One deployment of the app. Its web process answers at `url`."""

    directory: Path  # its var/ and its logs
    port: int
    database_url: str
    settings: dict[str, str]
    running: dict[str, subprocess.Popen] = field(default_factory=dict)
    interpreter: str = sys.executable

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self):
        own = {
            "ENV_FILE": os.devnull,
            "VAR_DIR": str(self.directory),
            "DATABASE_URL": self.database_url,
            "PUBLIC_URL": self.url,
            "WEB_CONCURRENCY": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "default",
        }
        return bare_environment() | own | self.settings

    # -- Processes ---------------------------------------------------------------------------------------------

    def start(self, *kinds, name=None, **settings):
        """Start processes and wait until they are ready. A second worker needs a `name`."""
        for kind in kinds:
            self._launch(kind, name or kind, settings)
        for kind in kinds:
            wait_until(lambda kind=kind: self._is_ready(kind, name or kind), what=f"{name or kind} to start")

    def start_all(self, **kinds):
        """Start several processes at once, each with its own name: `start_all(w1="worker", w2="worker")`."""
        for name, kind in kinds.items():
            self._launch(kind, name, {})
        for name, kind in kinds.items():
            wait_until(lambda name=name, kind=kind: self._is_ready(kind, name), what=f"{name} to start")

    def _launch(self, kind, name, settings):
        words = list(COMMANDS[kind])
        if kind == "web":
            words += ["--bind", f"127.0.0.1:{self.port}"]
        if kind == "worker":
            words += ["--hostname", f"{name}@test"]
        if kind == "beat":
            words += ["--schedule", str(self.directory / f"{name}-schedule")]
        with self.log(name).open("ab") as log:
            log.write(b"-- started --\n")
            log.flush()
            self.running[name] = subprocess.Popen(
                [self.interpreter, *words],
                cwd=ROOT,
                env=self.environment | settings,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _is_ready(self, kind, name):
        assert self.running[name].poll() is None, f"{name} ended:\n{self.log(name).read_text()}"
        latest = self.log(name).read_text().rpartition("-- started --")[2]
        if kind == "web":
            return self._web_answers()
        return ("ready." if kind == "worker" else "beat: Starting") in latest

    def _web_answers(self):
        try:
            return requests.get(self.url, timeout=5).status_code
        except (requests.ConnectionError, requests.Timeout):  # gunicorn listens before its workers are ready
            return None

    def log(self, name):
        """The path of the log of a process."""
        return self.directory / f"{name}.log"

    def kill(self, name):
        """Kill a process and its children with SIGKILL: it cannot finish or clean up anything."""
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, name):
        """Stop a process with SIGTERM, wait for it, and return its exit status."""
        process = self.running[name]
        process.terminate()
        try:
            status = process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill(name)
            raise
        del self.running[name]
        return status

    def kill_all(self):
        for name in list(self.running):
            self.kill(name)

    # -- Looking inside ----------------------------------------------------------------------------------------

    def rows(self, query, params=()):
        """The rows of a query, read directly from the database."""
        if self.database_url.startswith("sqlite"):
            with sqlite3.connect(self.database_url.removeprefix("sqlite:///"), timeout=20) as connection:
                rows = connection.execute(query, params).fetchall()
            connection.close()
            return rows
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            return connection.execute(query.replace("?", "%s"), params).fetchall()

    def rows_changed(self, statement, params=()):
        """Change rows directly in the database. Return their number."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            return connection.execute(statement.replace("?", "%s"), params).rowcount

    def forget_everything(self):
        """Delete all rows of the app directly in the database, in one transaction."""
        from django.apps import apps

        on_sqlite = self.database_url.startswith("sqlite")
        file = self.database_url.removeprefix("sqlite:///")
        connection = sqlite3.connect(file, timeout=20) if on_sqlite else psycopg.connect(self.database_url)
        with connection:
            for model in apps.get_app_config("defer").get_models():
                connection.execute(f"delete from {model._meta.db_table}")
        connection.close()

    def value(self, query, params=()):
        return self.rows(query, params)[0][0]

    def launch_python(self, code):
        """Start a process that runs `code` with the settings and models of the app. Its input and output are pipes."""
        return subprocess.Popen(
            [self.interpreter, "-c", f"import django; django.setup()\n{code}"],
            cwd=ROOT,
            env=self.environment | {"DJANGO_SETTINGS_MODULE": "b24app.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def python(self, code, timeout=60):
        """Run `code` as `launch_python` does and return its output. Raises AssertionError if it fails."""
        process = self.launch_python(code)
        output, errors = process.communicate(timeout=timeout)
        assert process.returncode == 0, errors
        return output

    def manage(self, *words):
        """Run a management command. Raises AssertionError if it fails."""
        done = subprocess.run(
            [self.interpreter, "manage.py", *words], cwd=ROOT, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
