"""`make demo`, and what it says if it cannot start."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.environment import ROOT, bare_environment
from tests.processes import wait_until
from tests.sandbox_client import free_ports

DEMO = [sys.executable, "bin/demo.py"]


def run(words, **environment):
    environment = bare_environment() | environment
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def ignore_interrupts():
    """As a shell does for a command that it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.fixture(params=[None, ignore_interrupts], ids=["foreground", "background"])
def demo(request, tmp_path):
    """A demo that starts on free ports. Ctrl-C stops it after the test."""
    ports = free_ports(5)
    words = [*DEMO, "--folder", str(tmp_path / "demo"), "--ports", ",".join(map(str, ports))]
    log = tmp_path / "demo.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            words, cwd=ROOT, env=bare_environment(), stdout=file, stderr=file, preexec_fn=request.param
        )
    process.ports, process.printed = ports, log.read_text
    yield process
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait(30)
        raise


@pytest.mark.workers
def test_the_demo_starts_and_ctrl_c_stops_it(demo):
    wait_until(lambda: "Open" in demo.printed() or demo.poll() is not None, 60, "the demo")
    assert f"Open  http://localhost:{demo.ports[0]}/\n" in demo.printed()
    for host in ("localhost", "127.0.0.1"):
        port = demo.ports[0] if host == "localhost" else demo.ports[-1]
        with urllib.request.urlopen(f"http://{host}:{port}/") as page:
            assert page.status == 200
    demo.send_signal(signal.SIGINT)
    assert demo.wait(30) == 0
    for port in demo.ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_a_busy_port_is_named(tmp_path):
    *ports, busy = free_ports(5)
    with socket.create_server(("127.0.0.1", busy)):
        words = ["--folder", str(tmp_path / "demo"), "--ports", ",".join(map(str, [*ports, busy]))]
        done = run([*DEMO, *words])
    assert done.returncode == 1
    assert done.stderr.startswith(f"Port {busy} is in use")
    assert not (tmp_path / "demo").exists()


def test_a_reset_forgets_the_demo(tmp_path):
    (tmp_path / "demo").mkdir()
    ports = ",".join(map(str, free_ports(5)))
    assert run([*DEMO, "--folder", str(tmp_path / "demo"), "--ports", ports, "--reset"]).returncode == 0
    assert not (tmp_path / "demo").exists()


def test_an_old_python_is_refused():
    pretend = "import sys, runpy; sys.version_info = (3, 9); sys.argv = ['', 'requirements.txt']; "
    done = run([sys.executable, "-c", pretend + "runpy.run_path('bin/install.py', run_name='__main__')"])
    assert done.returncode == 1
    assert "Defer needs Python 3.11 or newer, this is 3.9." in done.stderr


def test_a_missing_network_is_named(tmp_path):
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    offline |= {"PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "VENV": str(tmp_path / "venv")}
    done = run([sys.executable, "bin/install.py", "requirements.txt"], **offline)
    assert done.returncode == 1
    assert "The packages could not be installed. Is this machine online?" in done.stderr


def test_nothing_is_installed_twice(tmp_path):
    venv = tmp_path / "venv"
    install = [sys.executable, "bin/install.py", "requirements.txt"]
    code = "import runpy; print(runpy.run_path('bin/install.py')['digest']('requirements.txt'))"
    venv.mkdir()
    (venv / "installed-requirements.txt").write_text(run([sys.executable, "-c", code]).stdout.strip())
    done = run(install, VENV=str(venv))
    assert (done.returncode, done.stdout) == (0, "")
