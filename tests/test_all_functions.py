"""Every function of Optimove's, by name and as a typed method, over real HTTP."""

from __future__ import annotations

import datetime
import inspect
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_optimove.clients.optimove.client import OptimoveClient
from airflow_provider_optimove.clients.optimove.functions import api_name, catalogue
from airflow_provider_optimove.hooks.optimove import OptimoveHook
from airflow_provider_optimove.sandbox import OptimoveSandbox

TODAY = datetime.date(2026, 11, 20)
YESTERDAY = datetime.date(2026, 11, 19)
CUSTOMER = "C0000001"

# The arguments of one call a function, as Python takes them; "campaign" and the like are looked up in the sandbox.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "login": {"user_name": "sandbox", "password": "sandbox"},
    "get_last_data_update": {},
    "register_event_listener": {"event_type_id": 13, "listener_url": "https://example.com/events", "channel_id": 505},
    "unregister_event_listener": {"event_type_id": 1},
    "get_registered_event_listeners": {"channel_id": 505},
    "get_customer_attribute_list": {},
    "get_lifecycle_stage_list": {},
    "get_microsegment_list": {},
    "get_microsegment_changers": {"customer_attributes": ["Alias"]},
    "get_action_name": {"action_id": 2},
    "get_action_id": {"action_name": "10% free spins"},
    "get_all_actions": {},
    "get_actions_by_target_group": {"target_group_id": "target group", "date": TODAY},
    "get_promo_codes": {"date": TODAY},
    "get_promo_codes_by_campaign": {"campaign_id": "campaign"},
    "get_promo_codes_by_target_group": {"target_group_id": "target group", "date": TODAY},
    "get_action_details_by_target_group": {"target_group_id": "target group", "date": TODAY},
    "get_executed_campaign_details": {"date": TODAY},
    "get_campaign_details": {"campaign_id": "campaign"},
    "get_execution_channels": {},
    "get_executed_campaign_channel_details": {"campaign_id": "campaign", "channel_id": 15},
    "get_executed_campaigns_by_channel": {"channel_id": 15, "date": TODAY},
    "get_target_group_name": {"target_group_id": 1},
    "get_target_group_id": {"target_group_name": "UK VIPs"},
    "get_target_groups_by_date": {"date": TODAY},
    "get_target_group_details": {},
    "get_customers_by_action": {"recipient_group_id": 0, "action_id": 1, "date": TODAY},
    "get_customer_actions_by_target_group": {
        "target_group_id": "target group",
        "date": TODAY,
        "include_control_group": True,
        "include_recipient_group_id": True,
        "customer_attributes": ["Alias", "Country"],
    },
    "get_customer_one_time_actions_by_date": {"date": TODAY, "include_control_group": False},
    "get_customer_one_time_actions_by_campaign": {"campaign_id": "one-time campaign"},
    "get_customer_attribute_changers": {
        "start_date": YESTERDAY,
        "end_date": YESTERDAY,
        "changed_customer_attribute": "Country",
    },
    "get_customer_future_values": {"lifecycle_stage_id": [1, 2]},
    "get_customer_last_action_executed": {"customer_id": "C0000000"},
    "get_customer_action_details_by_date": {"date": TODAY},
    "get_customers_action_ended_by_date": {"date": TODAY},
    "get_customer_execution_details_by_campaign": {"campaign_id": "campaign"},
    "get_customer_send_details_by_campaign": {"campaign_id": "campaign", "include_template_ids": True},
    "get_customer_send_details_by_channel": {"channel_id": 15, "campaign_id": "campaign"},
    "get_processed_campaign_customers": {"campaign_id": "campaign"},
    "get_currently_targeted_customers": {},
    "get_canceled_campaign_customers": {"campaign_id": "cancelled campaign"},
    "get_customer_product_details_by_campaign": {
        "campaign_id": "product campaign",
        "product_attributes": ["color", "style"],
    },
    "get_customer_product_details_by_date": {"date": TODAY},
    "get_customer_product_recommendations": {"customer_id": CUSTOMER},
    "get_campaign_interaction_customers": {"date": TODAY, "channel_id": 15, "event_id": "opened"},
    "get_customer_channel_interactions": {
        "customer_id": "C0000004",
        "start_date": datetime.date(2026, 10, 1),
        "end_date": TODAY,
    },
    "get_external_realtime_campaign_customers": {"execution_date": TODAY, "campaign_id": "realtime campaign"},
    "get_customer_activity_event_attributes": {"date": YESTERDAY, "event_id": 1104, "event_param_ids": [1, 2]},
    "remove_customer_pii": {"customer_ids": ["nobody"]},
    "get_value_segment_name": {"value_segment_id": 1},
    "get_value_segment_id": {"value_segment_name": "Diamond"},
    "get_value_segments": {},
    "get_customers_by_value_segment": {"value_segment_id": 3, "date": YESTERDAY},
    "get_value_segment_changers": {"start_date": YESTERDAY, "end_date": YESTERDAY},
    "add_promotions": {"promotions": [{"PromoCode": "WB23", "PromotionName": "Welcome back"}]},
    "get_promotions": {},
    "delete_promotions": {"promotions": [{"PromoCode": "WB99"}]},
    "update_customer_promotion_status": {
        "campaign_id": "campaign",
        "promos_updated": [{"CustomerID": CUSTOMER, "Status": True}],
        "timestamp": datetime.datetime(2026, 11, 20, 9, 33, tzinfo=datetime.UTC),
    },
    "add_channel_templates": {"channel_id": 3, "templates": [{"TemplateID": 1, "TemplateName": "Welcome"}]},
    "get_channel_templates": {"channel_id": 15},
    "get_channel_template_details": {"template_id": 1501, "channel_id": 15},
    "delete_channel_templates": {"templates": [{"ChannelID": 3, "TemplateID": 1}]},
    "add_channel_apps": {"channel_id": 506, "apps": [{"AppID": "9c5f", "AppName": "Bingo"}]},
    "delete_channel_apps": {"apps": [{"ChannelID": 506, "AppID": "9c5f"}]},
    "add_external_realtime_triggers": {"realtime_triggers": [{"TriggerID": "R20", "TriggerName": "Rolled a six"}]},
    "get_external_realtime_triggers": {},
    "get_activity_event_list": {},
    "update_campaign_metrics": {
        "metrics": [
            {"ChannelID": 15, "CampaignID": 1, "TemplateID": 1501, "MetricID": 0, "MetricValue": 925},
        ]
    },
    "update_campaign_interactions": {
        "campaign_id": "campaign",
        "channel_id": 15,
        "interaction_date": TODAY,
        "template_id": 1501,
        "event_id": 2,
        "customer_ids": [CUSTOMER],
    },
    "set_customer_channel_preference": {"channel_id": 15, "customer_ids": [CUSTOMER], "communication_mode": 2},
    "send_transactional_mail": {"template_id": 127, "recipients": [{"Email": "ada@example.com"}]},
    "get_transactional_template_metrics": {"template_id": 127, "last_number_of_days": 30},
    "get_transactional_user_metrics": {"email": "ada@example.com"},
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[OptimoveSandbox]:
    # Two seconds pass between any two calls, so that one Login a second is never too many.
    with OptimoveSandbox(today=TODAY, clock=itertools.count(step=2).__next__) as running:
        yield running


@pytest.fixture(scope="module")
def hook(sandbox: OptimoveSandbox) -> Iterator[OptimoveHook]:
    with pytest.MonkeyPatch.context() as environment:
        fields = {**json.loads(sandbox.connection), "extra": {"rate_limit": ""}}
        environment.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", json.dumps(fields))
        hook = OptimoveHook()
        # What the functions that read such things back shall find.
        for name in ("add_promotions", "register_event_listener", "add_external_realtime_triggers"):
            getattr(hook.client, name)(**ARGUMENTS[name])
        hook.client.send_transactional_mail(**ARGUMENTS["send_transactional_mail"])
        yield hook


@pytest.fixture(scope="module")
def looked_up(hook: OptimoveHook) -> dict[str, int]:
    first_of_day = min(int(c["CampaignID"]) for c in hook.client.get_executed_campaign_details(date=TODAY))
    found = {"campaign": first_of_day}
    wanted: dict[str, Callable[..., Iterator[Any]]] = {
        "one-time campaign": hook.client.get_customer_one_time_actions_by_campaign,
        "product campaign": hook.client.get_customer_product_details_by_campaign,
        "cancelled campaign": hook.client.get_canceled_campaign_customers,
    }
    for campaign in range(first_of_day - 20, first_of_day + 10):
        for kind, read in wanted.items():
            if kind not in found and next(iter(read(campaign_id=campaign)), None):
                found[kind] = campaign
        if next(hook.client.get_external_realtime_campaign_customers(execution_date=TODAY, campaign_id=campaign), None):
            found["realtime campaign"] = campaign
    details = hook.client.get_campaign_details(campaign_id=first_of_day)
    assert details is not None
    found["target group"] = details["TargetGroupID"]
    return found


def test_every_function_has_its_call_here() -> None:
    assert list(ARGUMENTS) == [function.python_name for function in catalogue().values()]
    assert len(ARGUMENTS) == 73


def arguments_of(python_name: str, looked_up: dict[str, int]) -> dict[str, Any]:
    given = ARGUMENTS[python_name]
    return {name: looked_up.get(value, value) if isinstance(value, str) else value for name, value in given.items()}


def check(python_name: str, answer: Any) -> None:
    function = catalogue()[api_name(python_name)]
    shape = function.answer_shape
    if function.answer == "nothing":
        assert answer is None
    elif function.answer == "text":
        assert isinstance(answer, str)
        assert answer
    elif function.answer == "object":
        assert set(answer) == set(shape.__required_keys__)
    elif function.answer == "rows":
        assert answer
        for row in answer:
            assert shape.__required_keys__ <= {"ID" if k == "id" else "Name" if k == "name" else k for k in row}


@pytest.mark.parametrize("python_name", ARGUMENTS)
def test_typed_method(
    hook: OptimoveHook, sandbox: OptimoveSandbox, looked_up: dict[str, int], python_name: str
) -> None:
    calls_before = len(sandbox.calls)
    answer = getattr(hook.client, python_name)(**arguments_of(python_name, looked_up))
    function = catalogue()[api_name(python_name)]
    if function.paged:
        assert inspect.isgenerator(answer)
        assert len(sandbox.calls) == calls_before
        answer = list(answer)
    if function.answer == "date":
        assert answer == YESTERDAY
    check(python_name, answer)
    made = sandbox.calls[calls_before:]
    assert [(call.function, call.verb, call.status) for call in made] == [(function.name, function.verb, 200)]


@pytest.mark.parametrize("python_name", ARGUMENTS)
def test_call_by_name(
    hook: OptimoveHook, sandbox: OptimoveSandbox, looked_up: dict[str, int], python_name: str
) -> None:
    calls_before = len(sandbox.calls)
    function = catalogue()[api_name(python_name)]
    parameters = {api_name(name): value for name, value in arguments_of(python_name, looked_up).items()}
    body = None
    if function.body is not None:
        body = parameters.pop(api_name(function.body))
    elif not function.reads:
        parameters, body = {}, parameters
    answer = hook.call(function.name.upper(), parameters, body=body)
    if function.answer == "date":
        assert answer == {"Date": YESTERDAY.isoformat()}
    check(python_name, answer)
    made = sandbox.calls[calls_before:]
    assert [(call.function, call.verb, call.status) for call in made] == [(function.name, function.verb, 200)]


@pytest.mark.parametrize(
    "function", [f for f in catalogue().values() if f.answer == "rows"], ids=lambda function: function.name
)
def test_rows_are_those_of_call(hook: OptimoveHook, looked_up: dict[str, int], function: Any) -> None:
    parameters = {api_name(name): value for name, value in arguments_of(function.python_name, looked_up).items()}
    rows = hook.call(function.name, **parameters)
    assert list(hook.rows(function.name.lower(), parameters)) == rows
    (page,) = hook.client.pages(function.name.upper(), parameters)
    assert [json.loads(line) for line in page.lines.split(b"\n")] == rows


def test_no_public_method_of_the_client_is_missing() -> None:
    methods = {name for name, member in inspect.getmembers(OptimoveClient, inspect.isfunction) if name[0] != "_"}
    assert methods - set(ARGUMENTS) == {"call", "rows", "pages", "send", "close"}
    assert set(ARGUMENTS) <= methods
