#!/usr/bin/env python3
"""Start the demo on this machine: sandbox, web, worker and beat. Ctrl-C stops all of them.

`make demo` runs it. All files are in var/demo/, and the next start continues with them. The demo reads neither .env nor
the settings of this shell. For a browser, the portals (localhost) and the app (127.0.0.1) are different sites, as they
are at Bitrix24.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PORTALS = ["acme", "umbrella", "oldbox"]
PORTS = "8800,8802,8803,8801,8000"  # of the three portals, their OAuth server, the app
CLIENT_ID, CLIENT_SECRET, APP_CODE = "app.sandbox", "sandbox-secret", "example.defer"
START_TIME = 60.0  # seconds until all processes must answer
END_TIME = 15.0  # seconds in which a slice can finish
PASSED_ON = ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR"]
CELERY = ["-m", "celery", "-A", "b24app"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reset", action="store_true", help="delete everything that was done in the demo, and exit")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "demo")
    parser.add_argument("--ports", default=PORTS, help="of the three portals, the OAuth server and the app")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it starts in the background
    demo = Demo(arguments.folder.resolve(), [int(port) for port in arguments.ports.split(",")])
    demo.refuse_busy_ports()
    if arguments.reset:
        shutil.rmtree(demo.folder, ignore_errors=True)
        return print("The demo is deleted. `make demo` starts a new one.")
    try:
        demo.prepare()
        demo.start()
        say(f"\n    Open  http://{demo.portals[PORTALS[0]]}/\n\nCtrl-C stops the demo. The logs are in {demo.logs}.")
        say(f"To move the clock of portals and app by a day:  echo 86400 > {demo.clock}")
        demo.watch()
    except KeyboardInterrupt:
        say("\nStopping…")
    finally:
        demo.end()


def say(text: str) -> None:
    print(text, flush=True)


@dataclass
class Demo:
    folder: Path
    ports: list[int]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    # -- What runs ---------------------------------------------------------------------------------------------

    @property
    def portals(self) -> dict[str, str]:
        return {key: f"localhost:{port}" for key, port in zip(PORTALS, self.ports, strict=False)}

    @property
    def oauth(self) -> str:
        return f"localhost:{self.ports[-2]}"

    @property
    def app(self) -> str:
        return f"127.0.0.1:{self.ports[-1]}"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def clock(self) -> Path:
        """The file that moves the clock of all processes: see CLOCK_FILE in .env.example."""
        return self.folder / "clock"

    @property
    def environment(self) -> dict[str, str]:
        return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
            "ENV_FILE": os.devnull,
            "VAR_DIR": str(self.folder),
            "PUBLIC_URL": f"http://{self.app}",
            "STATIC_HASHED": "true",
            "B24_CLIENT_ID": CLIENT_ID,
            "B24_CLIENT_SECRET": CLIENT_SECRET,
            "B24_APP_CODE": APP_CODE,
            "B24_OAUTH_URLS": f"http://{self.oauth}",
            "B24_ALLOW_LOCAL_PORTALS": "true",
            "CLOCK_FILE": str(self.clock),
            "PYTHONUNBUFFERED": "1",
        }

    @property
    def commands(self) -> dict[str, list[str]]:
        """The arguments of `python` for each process, in the order of starting."""
        sandbox = {
            "portals": ",".join(f"{key}={host}" for key, host in self.portals.items()),
            "oauth": self.oauth,
            "database": str(self.folder / "sandbox.sqlite3"),
            "app-origin": f"http://{self.app}",
            "client-id": CLIENT_ID,
            "client-secret": CLIENT_SECRET,
            "app-code": APP_CODE,
            "seed": "demo",
        }
        return {
            "sandbox": ["-m", "b24app.sandbox", *(f"--{name}={value}" for name, value in sandbox.items())],
            "web": ["-m", "gunicorn", "b24app.wsgi", "--bind", self.app],
            "worker": [*CELERY, "worker", "--without-mingle", "--without-gossip", "--loglevel", "INFO"],
            "beat": [*CELERY, "beat", "--loglevel", "INFO"],
        }

    # -- Starting ----------------------------------------------------------------------------------------------

    def refuse_busy_ports(self) -> None:
        for port in self.ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    sys.exit(f"Port {port} is in use by another program or another demo. Please stop that first.")

    def prepare(self) -> None:
        say("Preparing…")
        self.logs.mkdir(parents=True, exist_ok=True)
        for words in (["migrate", "--verbosity", "0"], ["collectstatic", "--noinput", "--verbosity", "0"]):
            done = subprocess.run(
                [sys.executable, "manage.py", *words], cwd=ROOT, env=self.environment, capture_output=True, text=True
            )
            if done.returncode:
                sys.exit(f"{done.stderr}\n`manage.py {words[0]}` failed for the reason above.")

    def start(self) -> None:
        for name, words in self.commands.items():
            with self.log_of(name).open("wb") as log:
                # A new session, so that Ctrl-C reaches only this process. It stops the others in order.
                self.running[name] = subprocess.Popen(
                    [sys.executable, *words],
                    cwd=ROOT,
                    env=self.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        deadline = time.monotonic() + START_TIME
        while not self.all_answer():
            self.stop_if_one_ended()
            if time.monotonic() > deadline:
                sys.exit(f"Not all processes answered within {START_TIME:.0f} seconds. See {self.logs}.")
            time.sleep(0.2)

    def all_answer(self) -> bool:
        hosts = [*self.portals.values(), self.app]
        return "ready." in self.log_of("worker").read_text() and all(map(answers, hosts))

    def log_of(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    # -- Running and ending ------------------------------------------------------------------------------------

    def watch(self) -> None:
        while True:
            self.stop_if_one_ended()
            time.sleep(0.5)

    def stop_if_one_ended(self) -> None:
        for name, process in self.running.items():
            if process.poll() is not None:
                last_lines = self.log_of(name).read_text().splitlines()[-15:]
                sys.exit("\n".join([*last_lines, f"\nThe {name} process ended; the last lines of its log are above."]))

    def end(self) -> None:
        """Stop all processes, the sandbox last: running work needs its answers. Kill those that do not stop."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        deadline = time.monotonic() + END_TIME
        for name in reversed(self.running):
            process = self.running[name]
            process.terminate()
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # nothing is lost: the next start reads what was sent


def answers(host: str) -> bool:
    """True if a web server at `host` serves its first page."""
    try:
        urllib.request.urlopen(f"http://{host}/", timeout=5).close()
    except OSError:  # includes HTTP errors
        return False
    return True


if __name__ == "__main__":
    main()
