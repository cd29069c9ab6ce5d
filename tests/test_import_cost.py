"""A DAG file that uses the provider must not pay for HTTP, nor for the catalogue."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_optimove.get_provider_info import get_provider_info

PACKAGE = "airflow_provider_optimove"
# Every provider pays for these, so they are what ours is measured against.
FREE = ("airflow.sdk", "airflow.providers.common.compat")
MARK = "--- mark ---"
RUNS = 5
MOST_MILLISECONDS = 30


def modules() -> list[str]:
    """What DAG files import."""
    info: Any = get_provider_info()
    kinds = [*info["operators"], *info["sensors"], *info["triggers"]]
    return [
        *(module for kind in kinds for module in kind["python-modules"]),
        *(transfer["python-module"] for transfer in info["transfers"]),
    ]


def imports_of_airflow(module: str) -> set[str]:
    """The import statements of a module, at its top level, that every provider has."""
    path = Path(str(files(PACKAGE))).parent / (module.replace(".", "/") + ".py")
    statements = ast.parse(path.read_text()).body
    return {
        ast.unparse(statement)
        for statement in statements
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith(FREE)
    }


@functools.cache
def run() -> tuple[frozenset[str], float]:
    """Import everything in a fresh interpreter.

    :returns: the modules loaded beyond the baseline, and the milliseconds of the least disturbed of several runs.
    """
    baseline = sorted({"import airflow.providers.common.compat.sdk"}.union(*map(imports_of_airflow, modules())))
    program = "\n".join(
        [
            "import json, sys",
            *baseline,
            "before = set(sys.modules)",
            f"print('{MARK}', file=sys.stderr, flush=True)",
            *(f"import {module}" for module in modules()),
            # Airflow 2.11 imports more when the interpreter ends.
            f"print('{MARK}', file=sys.stderr, flush=True)",
            "print(json.dumps(sorted(set(sys.modules) - before)))",
        ]
    )
    # A DAG file meets compiled modules; the first run compiles them.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    loaded: set[str] = set()
    milliseconds = []
    for _ in range(RUNS):
        ran = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
        loaded |= set(json.loads(ran.stdout.splitlines()[-1]))
        _, ours, _ = ran.stderr.split(MARK)
        microseconds = re.findall(r"^import time: +(\d+) \|", ours, re.MULTILINE)
        milliseconds.append(sum(map(int, microseconds)) / 1000)
    return frozenset(loaded), min(milliseconds)


def test_there_is_something_to_import() -> None:
    assert f"{PACKAGE}.operators.optimove" in modules()
    assert f"{PACKAGE}.sensors.optimove" in modules()
    assert f"{PACKAGE}.triggers.optimove" in modules()
    assert f"{PACKAGE}.transfers.optimove_to_object_storage" in modules()


@pytest.mark.parametrize(
    "unwanted", ["requests", "urllib3", "msgspec", f"{PACKAGE}.clients", f"{PACKAGE}.hooks.optimove"]
)
def test_operators_and_sensors_do_not_load(unwanted: str) -> None:
    loaded, _ = run()
    assert not [name for name in loaded if name == unwanted or name.startswith(f"{unwanted}.")]


def test_operators_and_sensors_are_imported_fast() -> None:
    _, milliseconds = run()
    assert milliseconds < MOST_MILLISECONDS
