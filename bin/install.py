#!/usr/bin/env python3
"""Create .venv and install a requirements file into it: `bin/install.py requirements.txt`.

It does nothing if these requirements are already installed. It needs only the standard library.
"""

import hashlib
import os
import subprocess
import sys

OLDEST = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, os.environ.get("VENV", ".venv"))
VENV_PYTHON = os.path.join(VENV, "bin", "python")


def main(requirements: str) -> None:
    if sys.version_info < OLDEST:
        have = "%d.%d" % sys.version_info[:2]  # noqa: UP031  (an old Python must be able to parse this file)
        stop("Defer needs Python 3.11 or newer, this is %s. Try: make … PYTHON=/path/to/python3.11" % have)  # noqa: UP031
    stamp = os.path.join(VENV, "installed-" + requirements)
    wanted = digest(requirements)
    if read(stamp) == wanted:
        return
    if not os.path.exists(VENV_PYTHON):
        make_venv()
    install(requirements)
    with open(stamp, "w") as file:
        file.write(wanted)


def digest(requirements: str) -> str:
    """The digest of all files that decide what is installed."""
    names = {requirements, "requirements.txt", "constraints.txt"}
    text = "".join(read(os.path.join(ROOT, name)) for name in sorted(names))
    return hashlib.sha256(text.encode()).hexdigest()


def read(path: str) -> str:
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def make_venv() -> None:
    print("Creating a virtual environment in", VENV)
    done = subprocess.run([sys.executable, "-m", "venv", VENV], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        print(done.stdout.decode())
        stop("Python could not create a virtual environment. On Debian and Ubuntu: apt-get install python3-venv")


def install(requirements: str) -> None:
    print("Installing", requirements, "(the first time this takes a minute)", flush=True)
    words = [VENV_PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]
    done = subprocess.run([*words, requirements], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        print(done.stdout.decode())
        stop("The packages could not be installed. Is this machine online? pip must reach the package index once.")


def stop(sentence: str) -> None:
    sys.exit("\n" + sentence)


if __name__ == "__main__":
    main(sys.argv[1])
