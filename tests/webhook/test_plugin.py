"""The plugin that every process of Airflow loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_optimove.webhook.plugin import OptimoveEventListenerPlugin

SETTING = "AIRFLOW__OPTIMOVE__LISTENER_CONNECTIONS"
MOUNTED = """
import json
from airflow import plugins_manager
plugins, _ = plugins_manager.get_fastapi_plugins()
print(json.dumps([plugin["url_prefix"] for plugin in plugins]))
"""


def ran(program: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != SETTING} | settings
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)


def test_airflow_finds_it() -> None:
    (found,) = (entry for entry in entry_points(group="airflow.plugins") if "optimove" in entry.value)
    assert found.load() is OptimoveEventListenerPlugin


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 mounts nothing")
@pytest.mark.parametrize(
    ("setting", "conn_ids"),
    [("", []), (" , ", []), ("optimove_default", ["optimove_default"]), (" one,two ,", ["one", "two"])],
)
def test_what_is_mounted(setting: str, conn_ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Plugin(OptimoveEventListenerPlugin):
        """One that was not loaded before."""

    monkeypatch.setenv(SETTING, setting)
    Plugin.on_load()
    mounted = [(app["url_prefix"], app["app"]._conn_ids) for app in Plugin.fastapi_apps]
    assert mounted == ([("/optimove", conn_ids)] if conn_ids else [])


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 mounts nothing")
def test_nothing_is_mounted_where_nothing_is_set(airflow_db: Path) -> None:
    assert json.loads(ran(MOUNTED).stdout.splitlines()[-1]) == []
    loads = ran(MOUNTED, **{SETTING: "optimove_default"})
    assert json.loads(loads.stdout.splitlines()[-1]) == ["/optimove"]
    # It is the API server that listens.
    assert "listens" not in loads.stdout + loads.stderr


@pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="it has an effect here")
@pytest.mark.parametrize("setting", ["", "optimove_default"])
def test_airflow_2_warns(setting: str, airflow_db: Path) -> None:
    loads = ran("from airflow import plugins_manager; plugins_manager.ensure_plugins_loaded()", **{SETTING: setting})
    told = loads.stdout + loads.stderr
    assert ("the event listener needs Airflow 3" in told.replace("Optimove's", "the")) is bool(setting)
    assert "Traceback" not in told


def test_every_process_pays_for_little() -> None:
    program = (
        "import json, sys\n"
        "import airflow.plugins_manager\n"
        "from airflow.providers.common.compat import sdk, version_compat\n"
        "sdk.AirflowPlugin, sdk.conf\n"
        "before = set(sys.modules)\n"
        "from airflow_provider_optimove.webhook.plugin import OptimoveEventListenerPlugin\n"
        "OptimoveEventListenerPlugin.on_load()\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    loaded = set(json.loads(ran(program, **{SETTING: "optimove_default"}).stdout.splitlines()[-1]))
    assert "airflow_provider_optimove.webhook.plugin" in loaded
    assert loaded <= {
        "airflow_provider_optimove",
        "airflow_provider_optimove.webhook",
        "airflow_provider_optimove.webhook.address",
        "airflow_provider_optimove.webhook.plugin",
    }
