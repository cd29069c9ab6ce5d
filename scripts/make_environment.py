"""Make a virtual environment, or bring one up to date, from pinned requirements.

Needs nothing but Python with pip. Installs with uv where it can be had: seconds instead of minutes.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

UV = "uv==0.13.9"


def say(text: str) -> None:
    print(f"    {text}", flush=True)


def succeeds(*command: str | Path) -> bool:
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def create(directory: Path) -> list[str]:
    """Create the environment where there is none that runs; the command that is pip in it."""
    interpreter = directory / "bin" / "python"
    version = ".".join(map(str, sys.version_info[:3]))
    # Some distributions ship pip without ensurepip; that pip can install into the environment from outside.
    own_pip = importlib.util.find_spec("ensurepip") is not None
    if not own_pip and importlib.util.find_spec("pip") is None:
        sys.exit(f"{sys.executable} has neither ensurepip nor pip: install pip (Debian: python3-venv) and try again.")
    same_version = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    if not succeeds(interpreter, "-c", same_version):
        say(f"creating {directory} with Python {version}")
        shutil.rmtree(directory, ignore_errors=True)
        if not succeeds(sys.executable, "-m", "venv", *([] if own_pip else ["--without-pip"]), directory):
            sys.exit(f"{sys.executable} could not create {directory}.")
    if own_pip:
        return [str(interpreter), "-m", "pip"]
    return [sys.executable, "-m", "pip", "--python", str(interpreter)]


def install(installers: list[list[str]], *what: str) -> None:
    for installer in installers:
        if succeeds(*installer, "install", "--quiet", *what):
            return
        if installer is not installers[-1]:
            say("uv could not install it; trying pip, which takes a few minutes")
    sys.exit("The installation failed; the reason stands above.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("requirements", type=Path, nargs="+", help="files of pinned requirements")
    parser.add_argument("--project", type=Path, help="directory of a project to install editable")
    parser.add_argument("--stamp", type=Path, help="file to be made when all is installed")
    arguments = parser.parse_args()
    started = time.monotonic()
    pip = create(arguments.directory)
    installers = [pip]
    if succeeds(*pip, "install", "--quiet", UV):
        # uv finds the environment by this variable whatever other one is active.
        os.environ["VIRTUAL_ENV"] = str(arguments.directory)
        # The machine's own certificates: like pip, where a company's proxy signs what is fetched.
        installers.insert(0, [str(arguments.directory / "bin" / "uv"), "pip", "--system-certs"])
    else:
        say("uv cannot be had; installing with pip, which takes a few minutes")
    for file in arguments.requirements:
        say(f"installing {file}")
    install(installers, *(f"--requirement={file}" for file in arguments.requirements))
    if arguments.project:
        install(installers[:1], "--no-deps", "--no-build-isolation", f"--editable={arguments.project}")
    if arguments.stamp:
        arguments.stamp.touch()
    say(f"{arguments.directory} is ready ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
