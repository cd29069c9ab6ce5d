"""Renew the pinned requirements: the newest versions that fit pyproject.toml, for each supported Airflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
OLDEST_PYTHON = "3.11"


def pin(name: str, what_for: str, *arguments: str, requirements: str | None = None) -> None:
    command = [
        str(Path(sys.executable).with_name("uv")),
        "pip",
        "compile",
        "--quiet",
        "--upgrade",
        "--python-version",
        OLDEST_PYTHON,
        "--no-annotate",
        "--no-header",
        "--no-emit-index-url",
        "--no-emit-find-links",
        *arguments,
        *(["-"] if requirements else []),
    ]
    pins = subprocess.run(command, input=requirements, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT).stdout
    header = f"# {what_for}. Renew with `make pins`.\n"
    (REQUIREMENTS / f"{name}.txt").write_text(header + pins)
    print(f"requirements/{name}.txt: {len(pins.splitlines())} packages")


def main() -> None:
    for file in sorted(REQUIREMENTS.glob("airflow-*.txt")):
        version = file.stem.removeprefix("airflow-")
        pin(
            file.stem,
            f"All that the tests need on Airflow {version}",
            *("--group", "pyproject.toml:test", "pyproject.toml"),
            requirements=f"apache-airflow=={version}",
        )
    pin(
        "checks",
        "What `make check` needs on top of Airflow 3.3.2",
        *("--group", "pyproject.toml:checks", "--constraint", "requirements/airflow-3.3.2.txt"),
    )
    pin(
        "public-client",
        "The public client `optimove`, which the tests run against the sandbox, in an environment of its own",
        requirements="optimove==2.0.0",
    )


if __name__ == "__main__":
    main()
