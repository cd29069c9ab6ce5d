"""A DAG file that uses the provider must not pay for HTTP, nor for the catalogue."""

from __future__ import annotations

import ast
import functools
import json
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
# What DAG files import beyond operators, sensors, triggers and transfers, and what every process of Airflow imports.
OTHERS = (f"{PACKAGE}.assets.optimove", f"{PACKAGE}.webhook.plugin")


def modules() -> list[str]:
    """What DAG files, or all processes, import."""
    info: Any = get_provider_info()
    kinds = [*info["operators"], *info["sensors"], *info["triggers"]]
    return [
        *(module for kind in kinds for module in kind["python-modules"]),
        *(transfer["python-module"] for transfer in info["transfers"]),
        *OTHERS,
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
def loaded() -> frozenset[str]:
    """The modules that are loaded beyond the baseline when a fresh interpreter imports everything."""
    baseline = sorted(
        {"from airflow.providers.common.compat.sdk import BaseOperator"}.union(*map(imports_of_airflow, modules()))
    )
    program = "\n".join(
        [
            "import json, sys",
            *baseline,
            "before = set(sys.modules)",
            *(f"import {module}" for module in modules()),
            "print(json.dumps(sorted(set(sys.modules) - before)))",
        ]
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return frozenset(json.loads(ran.stdout.splitlines()[-1]))


def test_there_is_something_to_import() -> None:
    assert f"{PACKAGE}.operators.optimove" in modules()
    assert f"{PACKAGE}.sensors.optimove" in modules()
    assert f"{PACKAGE}.triggers.optimove" in modules()
    assert f"{PACKAGE}.transfers.optimove_to_object_storage" in modules()


def test_all_of_it_is_loaded() -> None:
    assert set(modules()) <= loaded()


@pytest.mark.parametrize("unwanted", ["clients", "hooks.optimove", "webhook.listener"])
def test_what_does_the_work_is_not_loaded(unwanted: str) -> None:
    assert not [name for name in loaded() if name.startswith(f"{PACKAGE}.{unwanted}")]


def test_nothing_is_loaded_that_airflow_has_not_loaded() -> None:
    """No library, and nothing of Python's own: what the provider adds is its own light modules."""
    assert not [name for name in loaded() if name.partition(".")[0] not in (PACKAGE, "airflow")]
