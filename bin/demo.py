#!/usr/bin/env python3
"""Start everything for a try on this machine: sandbox, web, worker and beat. Ctrl-C ends all of it.

Run by `make demo`. Everything written goes to var/demo/, where a second start goes on; neither .env nor any
setting of this shell reaches the demo. The portals and the app are different sites to a browser (localhost and
127.0.0.1), so that the app's frame is as foreign as it is at Bitrix24.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "var" / "demo"
PORTALS = {"acme": "localhost:8800", "umbrella": "localhost:8802", "oldbox": "localhost:8803"}
OAUTH = "localhost:8801"
APP = "127.0.0.1:8000"
CLIENT_ID, CLIENT_SECRET, APP_CODE = "app.sandbox", "sandbox-secret", "example.defer"
START_TIME = 60.0  # seconds for everything to answer
END_TIME = 15.0  # seconds for a slice of work to come to its end
PASSED_ON = ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR"]

ENVIRONMENT = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
    "ENV_FILE": os.devnull,
    "VAR_DIR": str(FOLDER),
    "PUBLIC_URL": f"http://{APP}",
    "STATIC_HASHED": "true",
    "B24_CLIENT_ID": CLIENT_ID,
    "B24_CLIENT_SECRET": CLIENT_SECRET,
    "B24_APP_CODE": APP_CODE,
    "B24_OAUTH_URLS": f"http://{OAUTH}",
    "B24_ALLOW_LOCAL_PORTALS": "true",
    "PYTHONUNBUFFERED": "1",
}
SANDBOX = {
    "portals": ",".join(f"{key}={host}" for key, host in PORTALS.items()),
    "oauth": OAUTH,
    "database": str(FOLDER / "sandbox.sqlite3"),
    "app-origin": f"http://{APP}",
    "client-id": CLIENT_ID,
    "client-secret": CLIENT_SECRET,
    "app-code": APP_CODE,
    "seed": "demo",
}
CELERY = ["-m", "celery", "-A", "b24app"]
COMMANDS = {
    "sandbox": ["-m", "b24app.sandbox", *(f"--{name}={value}" for name, value in SANDBOX.items())],
    "web": ["-m", "gunicorn", "b24app.wsgi", "--bind", APP],
    "worker": [*CELERY, "worker", "--without-mingle", "--without-gossip", "--loglevel", "INFO"],
    "beat": [*CELERY, "beat", "--loglevel", "INFO"],
}

Running = dict[str, subprocess.Popen[bytes]]


def main() -> None:
    if sys.argv[1:] == ["--reset"]:
        refuse_busy_ports()
        shutil.rmtree(FOLDER, ignore_errors=True)
        return print("The demo is forgotten; `make demo` starts afresh.")
    refuse_busy_ports()
    running: Running = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        prepare()
        for name in COMMANDS:
            running[name] = launch(name)
        wait_until_all_answer(running)
        print(
            f"\n    Open  http://{PORTALS['acme']}/\n\nCtrl-C ends everything. Logs are in {FOLDER / 'logs'}.",
            flush=True,
        )
        watch(running)
    except KeyboardInterrupt:
        print("\nEnding…", flush=True)
    finally:
        end(running)


def refuse_busy_ports() -> None:
    for host in [*PORTALS.values(), OAUTH, APP]:
        port = int(host.rpartition(":")[2])
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                sys.exit(f"Port {port} is in use by another program (or another `make demo`). Please end that first.")


def prepare() -> None:
    print("Preparing…", flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for words in (["migrate", "--verbosity", "0"], ["collectstatic", "--noinput", "--verbosity", "0"]):
        done = subprocess.run(
            [sys.executable, "manage.py", *words], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"{done.stderr}\n`manage.py {words[0]}` failed; the reason stands above.")


def launch(name: str) -> subprocess.Popen[bytes]:
    """Start a process of its own session: a Ctrl-C reaches only us, and we end the others in order."""
    log_of(name).parent.mkdir(exist_ok=True)
    with log_of(name).open("wb") as log:
        words = [sys.executable, *COMMANDS[name]]
        return subprocess.Popen(
            words, cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def log_of(name: str) -> Path:
    return FOLDER / "logs" / f"{name}.log"


def wait_until_all_answer(running: Running) -> None:
    deadline = time.monotonic() + START_TIME
    for ready in [*(lambda host=host: answers(host) for host in [*PORTALS.values(), APP]), worker_is_ready]:
        while not ready():
            stop_if_one_ended(running)
            if time.monotonic() > deadline:
                sys.exit(f"Not everything answered within {START_TIME:.0f} seconds. See {FOLDER / 'logs'}.")
            time.sleep(0.1)


def answers(host: str) -> bool:
    """Whether a web server answers there, and not with an error of its own."""
    try:
        urllib.request.urlopen(f"http://{host}/", timeout=5).close()
    except OSError:  # an HTTP error is one too
        return False
    return True


def worker_is_ready() -> bool:
    return "ready." in log_of("worker").read_text()


def watch(running: Running) -> None:
    while True:
        stop_if_one_ended(running)
        time.sleep(0.5)


def stop_if_one_ended(running: Running) -> None:
    for name, process in running.items():
        if process.poll() is not None:
            last_lines = log_of(name).read_text().splitlines()[-15:]
            sys.exit("\n".join([*last_lines, f"\nThe {name} process ended by itself; its last words stand above."]))


def end(running: Running) -> None:
    """Ask all to end, the sandbox last so that work in progress gets its answers; what does not end is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    deadline = time.monotonic() + END_TIME
    for name in ["beat", "worker", "web", "sandbox"]:
        if name not in running:
            continue
        process = running[name]
        process.terminate()
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # nothing is lost: what was sent is read again at the next start


if __name__ == "__main__":
    main()
