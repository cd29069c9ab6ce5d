"""A client that others wrote takes the sandbox for Optimove: ``optimove`` 2.0.0 from PyPI, unmodified.

It is installed aside (it drops a top-level ``tests`` package), and runs in the interpreter that the environment
variable ``OPTIMOVE_PUBLIC_CLIENT_PYTHON`` names.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from airflow_provider_optimove.clients.optimove.functions import catalogue
from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.sandbox.world import customer_id

INTERPRETER = os.environ.get("OPTIMOVE_PUBLIC_CLIENT_PYTHON")

pytestmark = pytest.mark.skipif(
    not INTERPRETER, reason="OPTIMOVE_PUBLIC_CLIENT_PYTHON names no interpreter with the PyPI package optimove 2.0.0"
)

NOT_IN_THE_GUIDE = {"customers.get_target_group_changers"}

# Reads the calls from its input and prints what came back; knows nothing of this project.
SCRIPT = """
import inspect, json, sys
import optimove
from optimove.client import Client

given = json.load(sys.stdin)
client = Client(given["user"], given["password"], url=given["url"])
groups = ["general", "model", "actions", "groups", "customers", "segments", "integrations"]
methods = {
    f"{group}.{name}": method
    for group in groups
    for name, method in inspect.getmembers(getattr(client, group), inspect.ismethod)
    if not name.startswith("_")
}
answers = [[name, methods[name](*arguments.get("args", []), **arguments.get("options", {}))]
           for name, arguments in given["calls"]]
found = {"version": optimove.__version__, "token": bool(client.token), "methods": sorted(methods), "answers": answers}
json.dump(found, sys.stdout)
"""


def _run(sandbox: OptimoveSandbox, calls: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    content = {"url": sandbox.url, "user": sandbox.login, "password": sandbox.password, "calls": calls}
    ran = subprocess.run(
        [str(INTERPRETER), "-c", SCRIPT], input=json.dumps(content), capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout)
    return result


def _function_of(method: str) -> str | None:
    """The function of the catalogue that a method of the public client stands for."""
    python_name = method.partition(".")[2]
    return next((name for name, declared in catalogue().items() if declared.python_name == python_name), None)


def _is_read(method: str) -> bool:
    return method.partition(".")[2].startswith("get_")


def test_its_reads_are_known() -> None:
    with OptimoveSandbox() as sandbox:
        methods = _run(sandbox, [])["methods"]

    assert {method for method in methods if _function_of(method) is None} == NOT_IN_THE_GUIDE
    assert sum(map(_is_read, methods)) == 42


def test_every_read_of_the_public_client_works(sandbox: OptimoveSandbox) -> None:
    world, today = sandbox.world, sandbox.today
    date, yesterday = today.isoformat(), sandbox.last_data_update.isoformat()
    main, ab, _, _, _, one_time, *_ = sandbox.executed_campaigns(today)
    canceled = next(
        campaign
        for day in (today, sandbox.last_data_update)
        for campaign in world.campaigns(day)
        if campaign.kind.canceled
    )
    attributes = ["Alias", "Country"]
    receiver = customer_id(next(customers[0] for group, customers in world.recipients(main) if group == 1))
    sandbox.promotions["WB10"] = "Welcome back"
    sandbox.channel_templates[3] = {1: "Hello"}
    with_attributes: dict[str, Any] = {"attributes": attributes}
    in_two_pages: list[dict[str, Any]] = [{"top": 30}, {"top": 30, "skip": 30}]

    calls: list[tuple[str, dict[str, Any]]] = [
        ("general.get_last_data_update", {}),
        ("model.get_customer_attribute_list", {}),
        ("model.get_lifecycle_stage_list", {}),
        ("model.get_microsegment_list", {}),
        ("model.get_microsegment_changers", {"args": [yesterday, yesterday, attributes]}),
        ("actions.get_action_name", {"args": [2]}),
        ("actions.get_action_id", {"args": ["10% bonus"]}),
        ("actions.get_all_actions", {}),
        ("actions.get_actions_by_target_group", {"args": [ab.target_group, date]}),
        ("actions.get_promo_codes", {"args": [date]}),
        ("actions.get_promo_codes_by_campaign", {"args": [ab.number]}),
        ("actions.get_promo_codes_by_target_group", {"args": [ab.target_group, date]}),
        ("actions.get_action_details_by_target_group", {"args": [ab.target_group, date]}),
        ("actions.get_executed_campaign_details", {"args": [date]}),
        ("actions.get_campaign_details", {"args": [ab.number]}),
        ("actions.get_execution_channels", {}),
        ("actions.get_executed_campaign_channel_details", {"args": [ab.number, 15]}),
        ("actions.get_executed_campaigns_by_channel", {"args": [15, date]}),
        ("groups.get_target_group_name", {"args": [1]}),
        ("groups.get_target_group_id", {"args": ["UK VIPs"]}),
        ("groups.get_target_groups_by_date", {"args": [date]}),
        ("groups.get_target_group_details", {}),
        ("customers.get_customers_by_action", {"args": [1, main.action(1), date], "options": with_attributes}),
        (
            "customers.get_customer_actions_by_target_group",
            {"args": [main.target_group, date], "options": {"include_control_group": True}},
        ),
        ("customers.get_customer_one_time_actions_by_date", {"args": [date], "options": with_attributes}),
        (
            "customers.get_customer_attribute_changers",
            {"args": [yesterday, yesterday, "Country"], "options": with_attributes},
        ),
        ("customers.get_customer_future_values", {"options": {"life_cycle_stage_id": 3}}),
        ("customers.get_customer_future_values", {"options": {"attribute": "Country", "attribute_value": "DE"}}),
        ("customers.get_customer_last_action_executed", {"args": [receiver]}),
        ("customers.get_customer_action_details_by_date", {"args": [date]}),
        ("customers.get_customers_action_ended_by_date", {"args": [date]}),
        ("customers.get_customer_send_details_by_campaign", {"args": [ab.number, True]}),
        ("customers.get_customer_send_details_by_channel", {"args": [15, ab.number], "options": with_attributes}),
        ("customers.get_currently_targeted_customers", {"options": in_two_pages[0]}),
        ("customers.get_currently_targeted_customers", {"options": in_two_pages[1]}),
        ("customers.get_canceled_campaign_customers", {"args": [canceled.number]}),
        ("segments.get_value_segment_name", {"args": [1]}),
        ("segments.get_value_segment_id", {"args": ["Gold"]}),
        ("segments.get_value_segments", {}),
        ("segments.get_customers_by_value_segment", {"args": [1, yesterday, attributes]}),
        ("segments.get_value_segment_changers", {"args": [yesterday, yesterday, attributes]}),
        ("integrations.get_promotions", {}),
        ("integrations.get_channel_templates", {"args": [3]}),
    ]
    ran = _run(sandbox, calls)

    reads = {method for method in ran["methods"] if _is_read(method)}
    assert reads - {name for name, _ in calls} == NOT_IN_THE_GUIDE
    assert ran["version"] == "2.0.0"
    assert ran["token"] is True
    assert sandbox.logins == 1
    assert {call.status for call in sandbox.calls} == {200}
    assert not any(call.with_key for call in sandbox.calls)
    empty = [name for name, answer in ran["answers"] if not answer]
    assert empty == []

    answers = dict(ran["answers"])
    assert answers["general.get_last_data_update"] == yesterday
    assert answers["model.get_customer_attribute_list"]["Country"] == "Country of residence"
    assert answers["model.get_lifecycle_stage_list"]["2"] == "Active"
    assert set(answers["model.get_microsegment_changers"][0]["attributes"]) == {"Alias", "Country"}
    assert answers["actions.get_action_name"] == "10% bonus"
    assert answers["actions.get_action_id"] == 2
    assert answers["actions.get_all_actions"]["2"] == "10% bonus"
    assert answers["actions.get_actions_by_target_group"] == {"1": ab.action(1), "2": ab.action(2)}
    assert answers["actions.get_promo_codes_by_campaign"][0]["promo_code"] == ab.promo_code(1)
    assert answers["actions.get_executed_campaign_details"][str(ab.number)]["campaign_type"] == "A/B"
    assert answers["actions.get_campaign_details"]["status"] == "Successful"
    assert answers["actions.get_execution_channels"]["15"] == "Optimail"
    assert answers["actions.get_executed_campaign_channel_details"][0]["send_id"] == ab.send_id(15, 1)
    assert ab.number in answers["actions.get_executed_campaigns_by_channel"]
    assert answers["groups.get_target_group_name"] == "UK VIPs"
    assert answers["groups.get_target_group_id"] == 1
    assert main.target_group in answers["groups.get_target_groups_by_date"]
    assert len(answers["groups.get_target_group_details"]) == len(world.target_groups)
    assert len(answers["customers.get_customers_by_action"]) >= 180
    assert len(answers["customers.get_customer_actions_by_target_group"]) == 200
    assert one_time.action(1) == answers["customers.get_customer_one_time_actions_by_date"][0]["action_id"]
    assert answers["customers.get_customer_last_action_executed"]["customer_id"] == receiver
    pages = [answer for name, answer in ran["answers"] if name == "customers.get_currently_targeted_customers"]
    assert [len(page) for page in pages] == [30, 30]
    assert pages[0] != pages[1]
    assert answers["customers.get_canceled_campaign_customers"][0]["action_id"] == canceled.action(1)
    assert answers["segments.get_value_segment_name"] == "Diamond"
    assert answers["segments.get_value_segment_id"] == 2
    assert len(answers["segments.get_customers_by_value_segment"]) == 50
    assert answers["integrations.get_promotions"] == {"WB10": "Welcome back"}
    assert answers["integrations.get_channel_templates"] == {"1": "Hello"}


def test_its_writes_arrive(sandbox: OptimoveSandbox) -> None:
    figure = {"channel_id": 15, "campaign_id": 7, "template_id": 1501, "metric": 0, "value": 9}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("integrations.add_promotions", {"args": [{"WB10": "Welcome back", "OLD": "Over"}]}),
        ("integrations.delete_promotions", {"args": [["OLD"]]}),
        ("integrations.add_channel_templates", {"args": [3, [{"id": 1, "name": "Hello", "app_id": "app-1"}]]}),
        ("integrations.add_channel_apps", {"args": [506, {"app-1": "Bingo Mania"}]}),
        ("integrations.update_campaign_metrics", {"args": [[figure]]}),
        ("general.register_event_listener", {"args": [3, "https://listener.example.com/a b?x=1"]}),
    ]

    answers = _run(sandbox, calls)["answers"]

    assert [answer for _, answer in answers] == [True] * len(calls)
    assert sandbox.promotions == {"WB10": "Welcome back"}
    assert sandbox.channel_templates[3] == {1: "Hello"}
    assert sandbox.apps == {506: {"app-1": "Bingo Mania"}}
    assert [row["MetricValue"] for row in sandbox.metrics] == [9]
    assert [listener.event_type_id for listener in sandbox.listeners] == [3]
