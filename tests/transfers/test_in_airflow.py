"""Transfers as tasks of a real Airflow: templates, XComs, mapped tasks, asset events, lineage."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_optimove.hooks.optimove import OptimoveHook
from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.transfers.optimove_to_object_storage import OptimoveToObjectStorageOperator

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

DAG = """
import pendulum
from airflow.providers.common.compat.sdk import Asset, DAG, task
from airflow_provider_optimove.transfers.optimove_to_object_storage import OptimoveToObjectStorageOperator

with DAG("extract", start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), schedule=None, params={{"folder": "{folder}"}}):
    OptimoveToObjectStorageOperator(
        task_id="one",
        function="GetCurrentlyTargetedCustomers",
        path="{{{{ params.folder }}}}/{{{{ task.task_id }}}}.csv",
        columns=["CustomerID", "CampaignID"],
        page_size=40,
        outlets=[Asset("targeted")],
    )

    @task
    def calls():
        return [{{"CampaignID": number}} for number in {campaigns}]

    parameters = calls()
    arguments = {{"function": "GetCustomerExecutionDetailsByCampaign", "path": "{folder}/{{CampaignID}}.jsonl"}}
    OptimoveToObjectStorageOperator(task_id="several", parameters=parameters, outlets=[Asset("several")], **arguments)
    OptimoveToObjectStorageOperator.partial(
        task_id="mapped", function=arguments["function"], path="{folder}/mapped/{{CampaignID}}.csv"
    ).expand(parameters=parameters)
    OptimoveToObjectStorageOperator(
        task_id="templated",
        function="GetCustomerExecutionDetailsByCampaign",
        parameters={{"CampaignID": "{{{{ ti.xcom_pull(task_ids='calls')[0]['CampaignID'] }}}}"}},
        path="{folder}/templated-{{CampaignID}}.jsonl",
    ).set_upstream(parameters)
"""


def test_tasks(
    optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any], asset_events: Any, tmp_path: Path
) -> None:
    asset_events.expect("targeted", "several")
    hook = OptimoveHook()
    date = hook.client.get_last_data_update()
    campaigns = sorted({int(c["CampaignID"]) for c in hook.client.get_executed_campaign_details(date=date)})
    run = run_dag(DAG.format(folder=tmp_path, campaigns=campaigns))
    assert run.state == "success"

    targeted = len(hook.call("GetCurrentlyTargetedCustomers"))
    assert targeted > 40
    file = tmp_path / "one.csv"
    told = {"path": str(file), "rows": targeted, "bytes": file.stat().st_size, "pages": -(-targeted // 40)}
    one = run.xcom("one")
    assert one == told
    # Airflow 2 masks even one letter, where it was the key of another test.
    assert run.rendered("one")["path"].endswith("/one.csv")
    (event,) = asset_events.of("targeted")
    assert event == {name: told[name] for name in ("rows", "bytes", "pages")}

    several = run.xcom("several")
    assert [result["path"] for result in several] == [f"{tmp_path}/{campaign}.jsonl" for campaign in campaigns]
    (event,) = asset_events.of("several")
    assert event == {name: sum(result[name] for result in several) for name in ("rows", "bytes", "pages")}
    for index, campaign in enumerate(campaigns):
        mapped = run.xcom("mapped", map_index=index)
        assert mapped["path"] == f"{tmp_path}/mapped/{campaign}.csv"
        assert mapped["rows"] == several[index]["rows"]
    assert run.xcom("templated")["path"] == f"{tmp_path}/templated-{campaigns[0]}.jsonl"


def test_lineage(optimove_sandbox: OptimoveSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compat = importlib.import_module("airflow.providers.common.compat.sdk")
    collector = type(compat.get_hook_lineage_collector()).__mro__[1]()
    assert type(collector).__name__ == "HookLineageCollector"
    monkeypatch.setattr(compat, "get_hook_lineage_collector", lambda: collector)
    path = str(tmp_path / "{CustomerAttributes}.jsonl")
    operator = OptimoveToObjectStorageOperator(
        task_id="transfer",
        function="getcurrentlytargetedcustomers",
        parameters=[{"CustomerAttributes": "Alias"}, {"CustomerAttributes": "Country"}],
        path=path,
    )
    operator.execute({})
    lineage = importlib.import_module("airflow.providers.common.compat.lineage.hook").get_hook_lineage_collector()
    found = lineage.collected_assets
    server = optimove_sandbox.url.removeprefix("http://")
    assert [info.asset.uri for info in found.inputs] == [f"optimove://{server}/customers/GetCurrentlyTargetedCustomers"]
    assert [info.asset.uri for info in found.outputs] == [f"file://{tmp_path}/{n}.jsonl" for n in ("Alias", "Country")]
    assert {info.context for info in (*found.inputs, *found.outputs)} == {operator.hook}


def test_no_secret_and_no_customer_is_in_the_log(
    optimove_sandbox: OptimoveSandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        OptimoveToObjectStorageOperator(
            task_id="transfer",
            function="GetCurrentlyTargetedCustomers",
            path=str(tmp_path / "rows.jsonl"),
            page_size=30,
        ).execute({})
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert rows
    assert "page 2: " in caplog.text
    assert " rows/s" in caplog.text
    for hidden in (optimove_sandbox.api_key, rows[0]["CustomerID"], rows[-1]["CustomerID"]):
        assert hidden not in caplog.text
