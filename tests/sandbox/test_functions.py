"""Every function of the catalogue answers over real HTTP, with the fields that the catalogue declares."""

from __future__ import annotations

import datetime
import typing
from typing import Any

import pytest

from airflow_provider_optimove.clients.optimove.functions import Function, catalogue
from airflow_provider_optimove.sandbox.answers import ANSWERS

TODAY = "2026-11-20"
YESTERDAY = "2026-11-19"
DAYS = (datetime.date(2026, 11, 20) - datetime.date(2020, 1, 1)).days
FIRST_OF_TODAY = DAYS * 10 + 1
AB_CAMPAIGN, PRODUCT_CAMPAIGN, ONE_TIME_CAMPAIGN, REALTIME_CAMPAIGN = (FIRST_OF_TODAY + slot for slot in (1, 4, 5, 6))
CANCELED_CAMPAIGN = next(FIRST_OF_TODAY + 7 - 10 * back for back in range(2) if (DAYS - back) % 2 == 0)

# Query and body of one valid call a function.
CALLS: dict[str, tuple[dict[str, Any], Any]] = {
    "Login": ({}, {"UserName": "sandbox", "Password": "sandbox"}),
    "GetLastDataUpdate": ({}, None),
    "RegisterEventListener": ({}, {"EventTypeID": 13, "ChannelID": 505, "ListenerURL": "https://example.com/a"}),
    "UnregisterEventListener": ({}, {"EventTypeID": 13}),
    "GetRegisteredEventListeners": ({"ChannelID": 505}, None),
    "GetCustomerAttributeList": ({}, None),
    "GetLifecycleStageList": ({}, None),
    "GetMicrosegmentList": ({}, None),
    "GetMicrosegmentChangers": ({}, None),
    "GetActionName": ({"ActionID": 2}, None),
    "GetActionID": ({"ActionName": "10% free spins"}, None),
    "GetAllActions": ({}, None),
    "GetActionsByTargetGroup": ({"TargetGroupID": "<target group>", "Date": TODAY}, None),
    "GetPromoCodes": ({"Date": TODAY}, None),
    "GetPromoCodesByCampaign": ({"CampaignID": AB_CAMPAIGN}, None),
    "GetPromoCodesByTargetGroup": ({"TargetGroupID": "<target group>", "Date": TODAY}, None),
    "GetActionDetailsByTargetGroup": ({"TargetGroupID": "<target group>", "Date": TODAY}, None),
    "GetExecutedCampaignDetails": ({"Date": TODAY}, None),
    "GetCampaignDetails": ({"CampaignID": AB_CAMPAIGN}, None),
    "GetExecutionChannels": ({}, None),
    "GetExecutedCampaignChannelDetails": ({"CampaignID": AB_CAMPAIGN, "ChannelID": 15}, None),
    "GetExecutedCampaignsByChannel": ({"ChannelID": 15, "Date": TODAY}, None),
    "GetTargetGroupName": ({"TargetGroupID": 1}, None),
    "GetTargetGroupID": ({"TargetGroupName": "UK VIPs"}, None),
    "GetTargetGroupsByDate": ({"Date": TODAY}, None),
    "GetTargetGroupDetails": ({}, None),
    "GetCustomersByAction": ({"RecipientGroupID": 0, "ActionID": 1, "Date": TODAY}, None),
    "GetCustomerActionsByTargetGroup": (
        {"TargetGroupID": "<target group>", "Date": TODAY, "IncludeRecipientGroupID": "True"},
        None,
    ),
    "GetCustomerOneTimeActionsByDate": ({"Date": TODAY, "IncludeControlGroup": "1"}, None),
    "GetCustomerOneTimeActionsByCampaign": ({"CampaignID": ONE_TIME_CAMPAIGN, "ChannelID": 459}, None),
    "GetCustomerAttributeChangers": (
        {"StartDate": YESTERDAY, "EndDate": YESTERDAY, "ChangedCustomerAttribute": "Country"},
        None,
    ),
    "GetCustomerFutureValues": ({"LifecycleStageID": "1,2"}, None),
    "GetCustomerLastActionExecuted": ({"CustomerID": "C0000000"}, None),
    "GetCustomerActionDetailsByDate": ({"Date": TODAY}, None),
    "GetCustomersActionEndedByDate": ({"Date": TODAY}, None),
    "GetCustomerExecutionDetailsByCampaign": ({"CampaignID": AB_CAMPAIGN}, None),
    "GetCustomerSendDetailsByCampaign": ({"CampaignID": AB_CAMPAIGN, "IncludeTemplateIDs": "true"}, None),
    "GetCustomerSendDetailsByChannel": ({"CampaignID": AB_CAMPAIGN, "ChannelID": 15}, None),
    "GetProcessedCampaignCustomers": ({"CampaignID": AB_CAMPAIGN}, None),
    "GetCurrentlyTargetedCustomers": ({}, None),
    "GetCanceledCampaignCustomers": ({"CampaignID": CANCELED_CAMPAIGN}, None),
    "GetCustomerProductDetailsByCampaign": (
        {"CampaignID": PRODUCT_CAMPAIGN, "ProductAttributes": "color,style"},
        None,
    ),
    "GetCustomerProductDetailsByDate": ({"Date": TODAY, "ProductAttributes": "color"}, None),
    "GetCustomerProductRecommendations": ({"CustomerID": "C0000001", "ProductAttributes": "brand"}, None),
    "GetCampaignInteractionCustomers": ({"Date": TODAY, "ChannelID": 15, "EventID": 2}, None),
    "GetCustomerChannelInteractions": (
        {"CustomerID": "C0000004", "StartDate": "2026-10-01", "EndDate": TODAY},
        None,
    ),
    "GetExternalRealtimeCampaignCustomers": ({"ExecutionDate": TODAY, "CampaignID": REALTIME_CAMPAIGN}, None),
    "GetCustomerActivityEventAttributes": ({"Date": YESTERDAY, "EventID": 1104, "EventParamIDs": "1;2"}, None),
    "RemoveCustomerPII": ({}, {"CustomerIDs": ["C0000003", "nobody"]}),
    "GetValueSegmentName": ({"ValueSegmentID": 1}, None),
    "GetValueSegmentID": ({"ValueSegmentName": "Diamond"}, None),
    "GetValueSegments": ({}, None),
    "GetCustomersByValueSegment": ({"ValueSegmentID": 3, "Date": YESTERDAY}, None),
    "GetValueSegmentChangers": ({"StartDate": YESTERDAY, "EndDate": YESTERDAY}, None),
    "AddPromotions": ({}, [{"PromoCode": "WB23", "PromotionName": "Welcome back"}]),
    "GetPromotions": ({}, None),
    "DeletePromotions": ({}, [{"PromoCode": "WB23"}]),
    "UpdateCustomerPromotionStatus": (
        {},
        {
            "TimeStamp": "2026-11-20 09:33:00",
            "CampaignID": AB_CAMPAIGN,
            "PromosUpdated": [{"CustomerID": "C0000001", "Status": True}],
        },
    ),
    "AddChannelTemplates": ({"ChannelID": 3}, [{"TemplateID": 1, "TemplateName": "Welcome", "AppID": "app123"}]),
    "GetChannelTemplates": ({"ChannelID": 15}, None),
    "GetChannelTemplateDetails": ({"TemplateID": 1501, "ChannelID": 15}, None),
    "DeleteChannelTemplates": ({}, [{"ChannelID": 3, "TemplateID": 1}]),
    "AddChannelApps": ({"ChannelID": 506}, [{"AppID": "9c5f", "AppName": "Bingo Mania"}]),
    "DeleteChannelApps": ({}, [{"ChannelID": 506, "AppID": "9c5f"}]),
    "AddExternalRealtimeTriggers": ({}, [{"TriggerID": "R20", "TriggerName": "Rolled a six"}]),
    "GetExternalRealtimeTriggers": ({}, None),
    "GetActivityEventList": ({}, None),
    "UpdateCampaignMetrics": (
        {},
        [{"ChannelID": 15, "CampaignID": AB_CAMPAIGN, "TemplateID": 1501, "MetricID": 0, "MetricValue": 925}],
    ),
    "UpdateCampaignInteractions": (
        {},
        {
            "CampaignID": AB_CAMPAIGN,
            "ChannelID": 15,
            "InteractionDate": TODAY,
            "TemplateID": 1501,
            "EventID": 2,
            "CustomerIDs": ["C0000001"],
        },
    ),
    "SetCustomerChannelPreference": ({}, {"ChannelID": 15, "CustomerIDs": ["C0000001"], "CommunicationMode": 2}),
    "SendTransactionalMail": ({}, {"TemplateID": 127, "Recipients": [{"Email": "ada@example.com"}]}),
    "GetTransactionalTemplateMetrics": ({"TemplateID": 127, "LastNumberOfDays": 30}, None),
    "GetTransactionalUserMetrics": ({"Email": "ada@example.com"}, None),
}

# What must have been written before these have something to tell.
WRITTEN_BEFORE = {
    "GetPromotions": "AddPromotions",
    "GetRegisteredEventListeners": "RegisterEventListener",
    "GetExternalRealtimeTriggers": "AddExternalRealtimeTriggers",
    "GetTransactionalUserMetrics": "SendTransactionalMail",
}


def _valid_call(call: Any, name: str) -> Any:
    query, body = CALLS[name]
    if query.get("TargetGroupID") == "<target group>":
        details = call("GetCampaignDetails", CampaignID=AB_CAMPAIGN).json
        query = {**query, "TargetGroupID": details["TargetGroupID"]}
    return call(name, body, **query)


def _check_fields(name: str, shape: Any, row: dict[str, Any]) -> None:
    hints = typing.get_type_hints(shape)
    channels_add_fields = name == "GetCustomerSendDetailsByCampaign"
    assert shape.__required_keys__ <= row.keys(), name
    assert channels_add_fields or row.keys() <= hints.keys(), name
    for key, value in row.items():
        if key in hints:
            _check_type(f"{name}: {key}", hints[key], value)


def _check_type(where: str, hint: Any, value: Any) -> None:
    if typing.get_origin(hint) is typing.NotRequired:
        hint = typing.get_args(hint)[0]
    members = typing.get_args(hint) if typing.get_origin(hint) not in (list, dict) else (hint,)
    kinds = tuple(typing.get_origin(member) or member for member in members or (hint,))
    kinds = tuple(dict if typing.is_typeddict(kind) else kind for kind in kinds)
    assert isinstance(value, (*kinds, int) if float in kinds else kinds), f"{where} is {value!r}"
    assert bool in kinds or not isinstance(value, bool), where


def test_the_table_of_calls_and_the_answers_cover_the_catalogue() -> None:
    assert CALLS.keys() == catalogue().keys()
    assert ANSWERS.keys() == catalogue().keys() - {"Login"}
    assert len(CALLS) == 73


@pytest.mark.parametrize("function", catalogue().values(), ids=lambda function: function.name)
def test_a_valid_call_is_answered_as_declared(call: Any, function: Function) -> None:
    if function.name in WRITTEN_BEFORE:
        assert _valid_call(call, WRITTEN_BEFORE[function.name]).status == 200

    answer = _valid_call(call, function.name)

    assert answer.status == 200, answer.text
    if function.answer == "nothing":
        assert answer.text == ""
        return
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    match function.answer:
        case "text":
            assert isinstance(answer.json, str)
        case "date":
            assert answer.json == {"Date": YESTERDAY}
        case "object":
            _check_fields(function.name, function.answer_shape, answer.json)
        case "rows":
            assert answer.json, "no rows to judge by"
            for row in answer.json:
                _check_fields(function.name, function.answer_shape, row)


@pytest.mark.parametrize("function", catalogue().values(), ids=lambda function: function.name)
def test_names_are_taken_in_any_letter_case_and_without_current(call: Any, function: Function) -> None:
    query, body = CALLS[function.name]
    shouted = {name.upper(): value for name, value in query.items() if value != "<target group>"}
    if len(shouted) < len(query):
        shouted["TARGETGROUPID"] = 7
    if isinstance(body, dict):
        body = {name.lower(): value for name, value in body.items()}
    elif body is not None:
        body = [{name.lower(): value for name, value in row.items()} for row in body]
    question = "&".join(
        f"{name}={str(value).replace('%', '%25').replace(' ', '%20')}" for name, value in shouted.items()
    )

    answer = call.send(function.verb, f"/{function.path.upper()}?{question}", body)

    assert answer.status == 200, answer.text


@pytest.mark.parametrize("function", [f for f in catalogue().values() if f.reads], ids=lambda function: function.name)
def test_reads_take_customer_attributes(call: Any, function: Function) -> None:
    query, _ = CALLS[function.name]
    if "<target group>" in query.values():
        query = {**query, "TargetGroupID": 7}

    answer = call(function.name, **query, CustomerAttributes="Alias;country", CustomerAttributesDelimiter=";")

    assert answer.status == 200, answer.text
    if function.paged:
        customers = [row for row in answer.json if "CustomerID" in row]
        assert all(len(row["CustomerAttributes"]) == 2 for row in customers)


@pytest.mark.parametrize("function", catalogue().values(), ids=lambda function: function.name)
def test_the_other_verb_is_not_allowed(call: Any, function: Function) -> None:
    verb = "POST" if function.verb == "GET" else "GET"

    assert call.send(verb, f"/current/{function.path}").status == 405
