"""The stand-ins of the systems beside Optimove, served together."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_optimove.sandbox import NetmeraSandbox
from airflow_provider_optimove.sandbox.systems import systems_after

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

COMMAND = [sys.executable, "-u", "-m", "airflow_provider_optimove.sandbox"]
CONNECTIONS = {"netmera_default", "sessionm_default", "sticky_street_default"}


def server_at(url: str) -> str:
    """Who answers there, as it says itself."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    connection.request("GET", "/")
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.headers["Server"].split("/")[0]


def test_their_ports() -> None:
    systems = systems_after(8099)

    assert {name: system.port for name, system in systems.items()} == {
        "Netmera": 8100,
        "SessionM": 8101,
        "Sticky Street": 8102,
    }
    assert {system.port for system in systems_after(0).values()} == {0}
    assert {system.connection_id for system in systems.values()} == CONNECTIONS


@pytest.mark.parametrize(("options", "beside"), [([], set()), (["--all"], CONNECTIONS)])
def test_the_command_line_serves_them_on_demand(options: list[str], beside: set[str]) -> None:
    with subprocess.Popen([*COMMAND, "--port", "0", *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        exports = [re.fullmatch(r"  export AIRFLOW_CONN_(\w+)='(.*)'\n", line) for line in lines]
        connections = {found[1].lower(): json.loads(found[2]) for found in exports if found}
        servers = {name: server_at(fields["host"]) for name, fields in connections.items()}
        process.terminate()
        assert process.wait(timeout=5) == 0

    assert {name: server.removesuffix("Sandbox").lower() for name, server in servers.items()} == {
        name: fields["conn_type"].replace("_", "") for name, fields in connections.items()
    }
    assert set(connections) == {"optimove_default", *beside}


@pytest.mark.parametrize(
    ("port", "said"),
    [("65533", "--port 65533: there are no 3 ports after it"), ("<before a taken one>", "choose another with --port")],
)
def test_the_command_line_says_which_port_is_wrong(port: str, said: str) -> None:
    with NetmeraSandbox() as taken:
        given = str(taken.port - 1) if "taken" in port else port
        ended = subprocess.run([*COMMAND, "--all", "--port", given], capture_output=True, text=True, check=False)

    assert ended.returncode != 0
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["netmera", "sessionm", "sticky_street"])
def test_the_fixtures_are_the_default_connections(name: str, request: pytest.FixtureRequest) -> None:
    sandbox: Any = request.getfixturevalue(f"{name}_sandbox")

    assert os.environ[f"AIRFLOW_CONN_{name.upper()}_DEFAULT"] == sandbox.connection
    assert server_at(sandbox.url) == type(sandbox).__name__
