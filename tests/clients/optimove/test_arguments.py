"""Arguments: what is refused before a call, what is accepted, and in which form it is sent."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pendulum
import pytest

from airflow_provider_optimove.clients.optimove.arguments import bind, checked_value, find_function
from airflow_provider_optimove.clients.optimove.batching import plan_batches
from airflow_provider_optimove.clients.optimove.functions import Function, catalogue
from airflow_provider_optimove.clients.optimove.functions.types import Integer
from airflow_provider_optimove.clients.optimove.rows import Objects, RowChecker, row_shape
from airflow_provider_optimove.exceptions import OptimoveInputError, OptimoveUnknownFunctionError

CAMPAIGN = {"CampaignID": 221}
BY_ACTION = {"RecipientGroupID": 1, "ActionID": 2, "Date": "2026-11-20"}
PROMOTION = {"PromoCode": "WB23", "PromotionName": "Welcome back"}
METRIC = {"ChannelID": 15, "CampaignID": 42, "TemplateID": 8, "MetricID": 0, "MetricValue": 925}
INTERACTIONS = {
    "CampaignID": 324,
    "ChannelID": 15,
    "InteractionDate": "2026-11-20",
    "TemplateID": 8,
    "EventID": 2,
    "CustomerIDs": ["A8272"],
}
STATUS = {
    "CampaignID": 1359,
    "TimeStamp": "2026-11-20 09:33:00",
    "PromosUpdated": [{"CustomerID": "C1", "Status": True}],
}
MAIL = {"TemplateID": 127, "Recipients": [{"Email": "vivi@example.com"}]}
PREFERENCE = {"ChannelID": 15, "CustomerIDs": ["A8272"], "CommunicationMode": 2}


class NumpyLike:
    """An integer of another library."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number


def bound(name: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return bind(catalogue()[name], parameters, **more)


def refusal(name: str, parameters: Any = None, **more: Any) -> OptimoveInputError:
    with pytest.raises(OptimoveInputError) as caught:
        bind(catalogue()[name], parameters, **more)
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.function == name
    assert all(problem in str(error) for problem in error.problems)
    return error


BAD_PARAMETERS = {
    "missing": ("GetCampaignDetails", {}, "CampaignID: required, expected a whole number"),
    "none is missing": ("GetCampaignDetails", {"CampaignID": None}, "CampaignID: required"),
    "unknown": (
        "GetCampaignDetails",
        {**CAMPAIGN, "Colour": "red"},
        "'Colour': no such parameter (GetCampaignDetails takes CampaignID)",
    ),
    "unknown, takes none": (
        "GetAllActions",
        {"Colour": "red"},
        "'Colour': no such parameter (GetAllActions takes none",
    ),
    "misspelt": ("GetCampaignDetails", {"CampainID": 221}, "'CampainID': no such parameter; did you mean CampaignID?"),
    "misspelt, snake case": (
        "GetCampaignDetails",
        {"campain_id": 221},
        "'campain_id': no such parameter; did you mean CampaignID?",
    ),
    "misspelt attribute option": (
        "GetAllActions",
        {"CustomerAttribute": ["Alias"]},
        "'CustomerAttribute': no such parameter; did you mean CustomerAttributes?",
    ),
    "not text for a name": ("GetCampaignDetails", {221: "CampaignID"}, "221: no such parameter"),
    "$top where nothing pages": ("GetAllActions", {"$top": 10}, "'$top': no such parameter"),
    "$top zero": (
        "GetCurrentlyTargetedCustomers",
        {"$top": 0},
        "$top: expected a whole number from 1 to 200000, got 0",
    ),
    "$top too large": (
        "GetCurrentlyTargetedCustomers",
        {"$top": 200_001},
        "$top: expected a whole number from 1 to 200000",
    ),
    "$skip negative": ("GetCurrentlyTargetedCustomers", {"$skip": -1}, "$skip: expected a whole number of 0 or more"),
    "text for a number": (
        "GetCampaignDetails",
        {"CampaignID": "twelve"},
        "CampaignID: expected a whole number of 0 or more, got 'twelve'",
    ),
    "fraction for a number": ("GetCampaignDetails", {"CampaignID": 2.0}, "CampaignID: expected a whole number"),
    "fraction as text": ("GetCampaignDetails", {"CampaignID": "2.0"}, "CampaignID: expected a whole number"),
    "bool for a number": (
        "GetCampaignDetails",
        {"CampaignID": True},
        "CampaignID: expected a whole number of 0 or more, got True",
    ),
    "list for a number": (
        "GetCampaignDetails",
        {"CampaignID": [221]},
        "CampaignID: expected a whole number of 0 or more, got list [221]",
    ),
    "negative": ("GetCampaignDetails", {"CampaignID": -1}, "CampaignID: expected a whole number of 0 or more, got -1"),
    "too large for any API": ("GetCampaignDetails", {"CampaignID": 2**63}, "CampaignID: expected a whole number"),
    "far too many digits": ("GetCampaignDetails", {"CampaignID": "9" * 5000}, "CampaignID: expected a whole number"),
    "bool for text": ("GetActionID", {"ActionName": True}, "ActionName: expected text, got True"),
    "fraction for text": ("GetCustomerLastActionExecuted", {"CustomerID": 1.5}, "CustomerID: expected text, got 1.5"),
    "bytes for text": ("GetActionID", {"ActionName": b"bonus"}, "ActionName: expected text, got bytes"),
    "empty text": ("GetActionID", {"ActionName": ""}, "ActionName: must not be empty"),
    "blank text": ("GetActionID", {"ActionName": " \n"}, "ActionName: must not be empty"),
    "bad boolean": (
        "GetCustomerOneTimeActionsByDate",
        {"Date": "2026-11-20", "IncludeControlGroup": "yes"},
        "IncludeControlGroup: expected true or false, got 'yes'",
    ),
    "number as boolean": (
        "GetCustomerOneTimeActionsByDate",
        {"Date": "2026-11-20", "IncludeControlGroup": 2},
        "IncludeControlGroup: expected true or false, got 2",
    ),
    "no such day": ("GetPromoCodes", {"Date": "2026-02-30"}, "Date: expected a date, YYYY-MM-DD, got '2026-02-30'"),
    "date without dashes": ("GetPromoCodes", {"Date": "20261120"}, "Date: expected a date, YYYY-MM-DD"),
    "date of another country": ("GetPromoCodes", {"Date": "20/11/2026"}, "Date: expected a date, YYYY-MM-DD"),
    "week date": ("GetPromoCodes", {"Date": "2026-W47"}, "Date: expected a date, YYYY-MM-DD"),
    "number for a date": ("GetPromoCodes", {"Date": 20261120}, "Date: expected a date, YYYY-MM-DD"),
    "unrendered template": ("GetPromoCodes", {"Date": "{{ ds }}"}, "Date: expected a date, YYYY-MM-DD, got '{{ ds }}'"),
    "date for a time": (
        "UpdateCustomerPromotionStatus",
        {**STATUS, "TimeStamp": "2026-11-20"},
        "TimeStamp: expected a date and time, YYYY-MM-DD HH:MM:SS",
    ),
    "date object for a time": (
        "UpdateCustomerPromotionStatus",
        {**STATUS, "TimeStamp": datetime.date(2026, 11, 20)},
        "TimeStamp: expected a date and time",
    ),
    "no such time": (
        "UpdateCustomerPromotionStatus",
        {**STATUS, "TimeStamp": "2026-11-20 25:00:00"},
        "TimeStamp: expected a date and time",
    ),
    "time before all times": (
        "UpdateCustomerPromotionStatus",
        {**STATUS, "TimeStamp": "0001-01-01 00:00:00+02:00"},
        "TimeStamp: expected a date and time",
    ),
    "11 attributes": (
        "GetAllActions",
        {"CustomerAttributes": [f"A{n}" for n in range(11)]},
        "CustomerAttributes: at most 10 are allowed, got 11",
    ),
    "11 attributes in one text": (
        "GetAllActions",
        {"CustomerAttributes": ";".join("ABCDEFGHIJK")},
        "CustomerAttributes: at most 10 are allowed, got 11",
    ),
    "separator in a name": (
        "GetAllActions",
        {"CustomerAttributes": ["Alias", "Last;Name"]},
        "CustomerAttributes: value 2: 'Last;Name' contains the separator ';'",
    ),
    "comma in a product attribute": (
        "GetCustomerProductDetailsByDate",
        {"Date": "2026-11-20", "ProductAttributes": ["color", "a,b"]},
        "ProductAttributes: value 2: 'a,b' contains the separator ','",
    ),
    "empty attribute name": (
        "GetAllActions",
        {"CustomerAttributes": ["Alias", ""]},
        "CustomerAttributes: value 2: must not be empty",
    ),
    "attribute that is no text": (
        "GetAllActions",
        {"CustomerAttributes": ["Alias", None]},
        "CustomerAttributes: value 2: expected text",
    ),
    "attributes as an object": (
        "GetAllActions",
        {"CustomerAttributes": {"Alias": 1}},
        "CustomerAttributes: value 1: expected text",
    ),
    "text among event parameters": (
        "GetCustomerActivityEventAttributes",
        {"Date": "2026-11-20", "EventID": 1104, "EventParamIDs": "1;x"},
        "EventParamIDs: value 2: expected a whole number",
    ),
    "unknown delimiter": (
        "GetAllActions",
        {"CustomerAttributesDelimiter": "|"},
        "CustomerAttributesDelimiter: expected one of ',', ':', ';', '\\t', got '|'",
    ),
    "empty delimiter": (
        "GetAllActions",
        {"CustomerAttributesDelimiter": ""},
        "CustomerAttributesDelimiter: expected one of",
    ),
    "both ways of asking": (
        "GetCustomerFutureValues",
        {"LifecycleStageID": 1, "CustomerAttribute": "Country", "CustomerAttributeValue": "UK"},
        "LifecycleStageID: not together with CustomerAttribute and CustomerAttributeValue",
    ),
    "attribute without value": (
        "GetCustomerFutureValues",
        {"CustomerAttribute": "Country"},
        "CustomerAttributeValue: needed together with CustomerAttribute",
    ),
    "value without attribute": (
        "GetCustomerFutureValues",
        {"CustomerAttributeValue": "UK"},
        "CustomerAttribute: needed together with CustomerAttributeValue",
    ),
    "end before start": (
        "GetCustomerChannelInteractions",
        {"CustomerID": "1", "StartDate": "2026-11-20", "EndDate": "2026-11-19"},
        "StartDate: 2026-11-20 is after EndDate 2026-11-19",
    ),
    "0 days": (
        "GetTransactionalTemplateMetrics",
        {"TemplateID": 1, "LastNumberOfDays": 0},
        "LastNumberOfDays: expected a whole number from 1 to 60, got 0",
    ),
    "61 days": (
        "GetTransactionalUserMetrics",
        {"Email": "vivi@example.com", "LastNumberOfDays": 61},
        "LastNumberOfDays: expected a whole number from 1 to 60, got 61",
    ),
    "communication mode": (
        "SetCustomerChannelPreference",
        {**PREFERENCE, "CommunicationMode": 3},
        "CommunicationMode: expected a whole number from 1 to 2, got 3",
    ),
    "recommendation type": (
        "GetCustomerProductRecommendations",
        {"RecommendationType": 3},
        "RecommendationType: expected a whole number from 1 to 2",
    ),
    "word for an event": (
        "UpdateCampaignInteractions",
        {**INTERACTIONS, "EventID": "seen"},
        "EventID: expected a whole number of 0 or more or one of opened, clicked, unsubscribed, got 'seen'",
    ),
    "long message id": (
        "SendTransactionalMail",
        {**MAIL, "UniqueMessageID": "x" * 255},
        "UniqueMessageID: at most 254 characters, got 255",
    ),
    "parameters as text": (
        "GetCampaignDetails",
        "CampaignID=221",
        "parameters: expected an object with values by name, got str",
    ),
    "text for rows": (
        "RemoveCustomerPII",
        {"CustomerIDs": "A8272"},
        "CustomerIDs: expected a list of values, got 'A8272'",
    ),
    "one object for rows": (
        "SendTransactionalMail",
        {**MAIL, "Recipients": {"Email": "vivi@example.com"}},
        "Recipients: expected a list of objects with Email, Personalizations, got dict",
    ),
    "number for rows": ("RemoveCustomerPII", {"CustomerIDs": 5}, "CustomerIDs: expected a list of values, got 5"),
    "no rows": ("RemoveCustomerPII", {"CustomerIDs": []}, "CustomerIDs: at least one row is needed"),
    "bad bare row": (
        "RemoveCustomerPII",
        {"CustomerIDs": ["A1", None]},
        "CustomerIDs: row 2: expected text, got NoneType None",
    ),
    "bool as customer": ("RemoveCustomerPII", {"CustomerIDs": [True]}, "CustomerIDs: row 1: expected text, got True"),
    "bad row of objects": (
        "UpdateCustomerPromotionStatus",
        {**STATUS, "PromosUpdated": [{"CustomerID": "C1", "Status": True}, {"CustomerID": "C2"}]},
        "PromosUpdated: row 2: Status: missing",
    ),
    "nested row": (
        "SendTransactionalMail",
        {**MAIL, "Recipients": [{"Email": "vivi@example.com", "Personalizations": [{"Value": "V"}]}]},
        "Recipients: row 1: Personalizations: row 1: Tag: missing",
    ),
}


@pytest.mark.parametrize(("name", "parameters", "expected"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS)
def test_bad_parameters(name: str, parameters: Any, expected: str) -> None:
    problem, *others = refusal(name, parameters).problems
    assert problem.startswith(expected)
    assert all(": required, " in other for other in others)


ONE_TIME_FUNCTIONS = ("GetCustomerOneTimeActionsByDate", "GetCustomerOneTimeActionsByCampaign")


@pytest.mark.parametrize(
    "name", [d.name for d in catalogue().values() if any(p.name == "TargetGroupID" for p in d.own_parameters)]
)
@pytest.mark.parametrize("value", [-1, "-1", NumpyLike(-1)])
def test_one_time_campaigns_have_functions_of_their_own(name: str, value: Any) -> None:
    given = {"TargetGroupID": value, "Date": "2026-11-20"}
    wanted = {key: given[key] for key in given if key in catalogue()[name].parameters}
    (problem,) = refusal(name, wanted).problems
    assert problem.startswith("TargetGroupID: -1 is not accepted")
    assert all(function in problem for function in ONE_TIME_FUNCTIONS)


BODIES = {
    "body of a GET": ("GetCampaignDetails", CAMPAIGN, {}, "body: a GET function has none"),
    "list where an object is due": (
        "UpdateCampaignInteractions",
        None,
        ["A8272"],
        "body: expected an object with values by name, got list",
    ),
    "object where a list is due": (
        "AddPromotions",
        None,
        PROMOTION,
        "Promotions: expected a list of objects with PromoCode, PromotionName, got dict",
    ),
    "text where a list is due": (
        "AddPromotions",
        None,
        "promotions.csv",
        "Promotions: expected a list of objects with PromoCode, PromotionName, got 'promotions.csv'",
    ),
    "empty list": ("AddPromotions", None, [], "Promotions: at least one row is needed"),
    "rows in both places": ("AddPromotions", {"Promotions": [PROMOTION]}, [PROMOTION], "Promotions: given twice"),
    "value in both places": (
        "RemoveCustomerPII",
        {"CustomerIDs": ["A1"]},
        {"customerids": ["A1"]},
        "CustomerIDs: given twice",
    ),
    "unknown in an object": (
        "RemoveCustomerPII",
        None,
        {"CustomerIDs": ["A1"], "Why": "asked"},
        "'Why': no such parameter",
    ),
}


@pytest.mark.parametrize(("name", "parameters", "body", "expected"), BODIES.values(), ids=BODIES)
def test_bad_bodies(name: str, parameters: Any, body: Any, expected: str) -> None:
    problem, *others = refusal(name, parameters, body=body).problems
    assert problem.startswith(expected)
    assert all(": required, " in other for other in others)


@pytest.mark.parametrize(
    ("parameters", "keywords"),
    [
        ({"CampaignID": 1, "campaignid": 1}, {}),
        ({"CampaignID": 1, "campaign_id": 2}, {}),
        ({"CampaignID": 1}, {"campaign_id": 1}),
        ({"CampaignID": 1}, {"CampaignID": 1}),
    ],
)
def test_parameters_given_twice(parameters: dict[str, Any], keywords: dict[str, Any]) -> None:
    assert refusal("GetCampaignDetails", parameters, keywords=keywords).problems == ("CampaignID: given twice",)


@pytest.mark.parametrize(
    ("parameters", "keywords"), [({"CampaignID": None}, {"campaign_id": 1}), ({"CampaignID": 1}, {"campaign_id": None})]
)
def test_none_is_not_given(parameters: dict[str, Any], keywords: dict[str, Any]) -> None:
    assert bound("GetCampaignDetails", parameters, keywords=keywords) == {"CampaignID": 1}


def test_everything_that_is_wrong_is_said_at_once() -> None:
    error = refusal("GetCustomersByAction", {"RecipientGroupID": -5, "Date": "soon", "Colour": "red"})
    assert [problem.split(":")[0] for problem in error.problems] == ["'Colour'", "RecipientGroupID", "ActionID", "Date"]


@pytest.mark.parametrize("name", [d.name for d in catalogue().values() if d.max_rows is not None])
def test_rows_of_one_call(name: str) -> None:
    declared = catalogue()[name]
    rows_name = next(p.name for p in declared.own_parameters if p.python_name == declared.rows)
    most = declared.max_rows or 0
    row: Any = {
        "AddPromotions": PROMOTION,
        "DeletePromotions": {"PromoCode": "WB23"},
        "AddChannelTemplates": {"TemplateID": 1, "TemplateName": "Welcome"},
        "DeleteChannelTemplates": {"ChannelID": 7, "TemplateID": 15},
        "AddChannelApps": {"AppID": "app123", "AppName": "Bingo"},
        "DeleteChannelApps": {"ChannelID": 7, "AppID": "app123"},
        "AddExternalRealtimeTriggers": {"TriggerID": "R20", "TriggerName": "Box cars"},
        "UpdateCustomerPromotionStatus": {"CustomerID": "C1", "Status": False},
        "SendTransactionalMail": {"Email": "vivi@example.com"},
    }.get(name, "A8272")
    others = {**STATUS, **INTERACTIONS, **MAIL, **PREFERENCE, "ChannelID": 7}
    given = {p.name: others[p.name] for p in declared.own_parameters if p.required and p.name != rows_name}
    assert bound(name, {**given, rows_name: [row] * most})[rows_name] == [row] * most
    (problem,) = refusal(name, {**given, rows_name: [row] * (most + 1)}).problems
    assert problem.startswith(f"{rows_name}: {most + 1:,} rows, and one call takes at most {most:,}")
    (problem,) = refusal(name, {**given, rows_name: []}).problems
    assert problem == f"{rows_name}: at least one row is needed"


def test_metrics_have_no_limit() -> None:
    assert len(bound("UpdateCampaignMetrics", body=[METRIC] * 1000)["Metrics"]) == 1000


BAD_ROWS = {
    "missing": ("AddPromotions", {"PromoCode": "WB23"}, "PromotionName: missing"),
    "none": ("AddPromotions", {**PROMOTION, "PromoCode": None}, "PromoCode: expected text, got NoneType None"),
    "empty": ("AddPromotions", {**PROMOTION, "PromoCode": ""}, "PromoCode: must not be empty"),
    "unknown field": (
        "AddPromotions",
        {**PROMOTION, "Name": "x"},
        "'Name': no such field (fields are PromoCode, PromotionName)",
    ),
    "twice in other case": ("AddPromotions", {**PROMOTION, "promocode": "WB24"}, "PromoCode: given twice"),
    "wrong type": (
        "UpdateCampaignMetrics",
        {**METRIC, "MetricValue": "many"},
        "MetricValue: expected a whole number of 0 or more, got 'many'",
    ),
    "fraction": ("UpdateCampaignMetrics", {**METRIC, "MetricValue": 0.5}, "MetricValue: expected a whole number"),
    "bool for a number": (
        "UpdateCampaignMetrics",
        {**METRIC, "MetricValue": True},
        "MetricValue: expected a whole number",
    ),
    "negative number": (
        "UpdateCampaignMetrics",
        {**METRIC, "RecipientGroupID": -1},
        "RecipientGroupID: expected a whole number",
    ),
    "bad status": (
        "UpdateCustomerPromotionStatus",
        {"CustomerID": "C1", "Status": "active"},
        "Status: expected true or false, got 'active'",
    ),
    "no object": ("AddPromotions", "WB23", "expected an object with PromoCode, PromotionName, got 'WB23'"),
    "list": ("AddPromotions", ["WB23", "Welcome"], "expected an object with PromoCode, PromotionName, got list"),
    "bare value": ("RemoveCustomerPII", {"Customer": "A1"}, "CustomerID: missing"),
    "tag without value": (
        "SendTransactionalMail",
        {"Email": "v@example.com", "Personalizations": [{"Tag": "[%A%]"}]},
        "Personalizations: row 1: Value: missing",
    ),
}
GOOD_ROWS: dict[str, Any] = {
    "AddPromotions": PROMOTION,
    "UpdateCampaignMetrics": METRIC,
    "UpdateCustomerPromotionStatus": {"CustomerID": "C1", "Status": True},
    "RemoveCustomerPII": "A1",
    "SendTransactionalMail": {"Email": "v@example.com"},
}


def checked_rows(function: Function, rows: list[Any]) -> Any:
    with plan_batches(function, [Objects(rows)], RowChecker(row_shape(function)), 100) as plan:
        return [json.loads(bytes(row)) for number in range(len(plan)) for row in plan[number].rows()]


@pytest.mark.parametrize(("name", "row", "expected"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_bad_rows(name: str, row: Any, expected: str) -> None:
    with pytest.raises(OptimoveInputError) as caught:
        checked_rows(catalogue()[name], [GOOD_ROWS[name], GOOD_ROWS[name], row])
    (problem,) = caught.value.problems
    assert problem.startswith(f"row 3: {expected}")
    assert caught.value.function == name
    assert "1 of 3 rows is not valid" in str(caught.value)


def test_all_problems_of_a_row_stand_together() -> None:
    with pytest.raises(OptimoveInputError) as caught:
        checked_rows(catalogue()["AddPromotions"], [{"PromoCode": "", "Colour": "red"}])
    (problem,) = caught.value.problems
    assert problem.startswith("row 1: ")
    assert all(word in problem for word in ("PromoCode: must not be empty", "'Colour'", "PromotionName: missing"))


def _of_checked_rows(rows: list[Any]) -> OptimoveInputError:
    with pytest.raises(OptimoveInputError) as caught:
        checked_rows(catalogue()["AddPromotions"], rows)
    return caught.value


@pytest.mark.parametrize(
    "refused",
    [_of_checked_rows, lambda rows: refusal("AddPromotions", body=rows)],
    ids=["checked_rows", "bind"],
)
@pytest.mark.parametrize(("bad", "rest"), [(20, None), (21, "... and 1 more"), (50, "... and 30 more")])
def test_at_most_20_bad_rows_are_shown_and_the_others_counted(refused: Any, bad: int, rest: str | None) -> None:
    error = refused([PROMOTION] * 7 + [{}] * bad)
    assert len(error.problems) == 20
    assert [int(re.search(r"row (\d+)", problem)[1]) for problem in error.problems] == list(range(8, 28))  # type: ignore[index]
    assert str(error).splitlines()[-1].strip() == (rest or error.problems[-1])


def test_problems_of_parameters_do_not_hide_how_many_rows_are_bad() -> None:
    error = refusal("RemoveCustomerPII", {"CustomerIDs": [None] * 30, "Why": "asked"})
    assert len(error.problems) == 20
    assert str(error).splitlines()[-1].strip() == "... and 11 more"


@pytest.mark.parametrize(
    "given",
    [
        {"UserName": "someusername", "Password": ["fake-password-1"]},
        {"UserName": "someusername", "Password": {"is": "fake-password-1"}},
        {"UserName": "someusername", "Password": b"fake-password-1"},
        {"UserName": "", "Password": "fake-password-1"},
        {"Password": "fake-password-1"},
        {"UserName": "someusername", "Pasword": "fake-password-1"},
        {"UserName": "someusername", "Password": "fake-password-1", "password": "fake-password-1"},
        ["someusername", "fake-password-1"],
        "fake-password-1",
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["parameters", "body"])
def test_passwords_are_not_shown(given: Any, place: str) -> None:
    with pytest.raises(OptimoveInputError) as caught:
        bind(catalogue()["Login"], **{place: given})
    assert "fake-password-1" not in f"{caught.value} {caught.value!r} {caught.value.args} {caught.value.__dict__}"


ACCEPTED: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "letter case of names": ("GetCampaignDetails", {"cAMPAIGNid": 221}, {"CampaignID": 221}),
    "snake case": ("GetCampaignDetails", {"campaign_id": 221}, {"CampaignID": 221}),
    "number as text": ("GetCampaignDetails", {"CampaignID": " 221 "}, {"CampaignID": 221}),
    "number like numpy's": ("GetCampaignDetails", {"CampaignID": NumpyLike(221)}, {"CampaignID": 221}),
    "identifier as a number": ("GetCustomerLastActionExecuted", {"CustomerID": 2872732}, {"CustomerID": "2872732"}),
    "identifier like numpy's": ("GetCustomerLastActionExecuted", {"CustomerID": NumpyLike(7)}, {"CustomerID": "7"}),
    "the control group": (
        "GetCustomersByAction",
        {**BY_ACTION, "RecipientGroupID": 0},
        {**BY_ACTION, "RecipientGroupID": 0},
    ),
    "a group of two digits": (
        "GetCustomersByAction",
        {**BY_ACTION, "RecipientGroupID": 12},
        {**BY_ACTION, "RecipientGroupID": 12},
    ),
    "date": ("GetPromoCodes", {"Date": datetime.date(2026, 11, 20)}, {"Date": "2026-11-20"}),
    "datetime by its own calendar": (
        "GetPromoCodes",
        {"Date": datetime.datetime(2026, 11, 20, 23, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=-8)))},
        {"Date": "2026-11-20"},
    ),
    "pendulum": (
        "GetPromoCodes",
        {"Date": pendulum.datetime(2026, 11, 20, 0, 30, tz="Asia/Tokyo")},
        {"Date": "2026-11-20"},
    ),
    "pendulum date": ("GetPromoCodes", {"Date": pendulum.date(2026, 11, 20)}, {"Date": "2026-11-20"}),
    "date as text": ("GetPromoCodes", {"Date": " 2026-11-20\n"}, {"Date": "2026-11-20"}),
    "same day twice": (
        "GetValueSegmentChangers",
        {"StartDate": "2026-11-20", "EndDate": "2026-11-20"},
        {"StartDate": "2026-11-20", "EndDate": "2026-11-20"},
    ),
    "one date alone": ("GetValueSegmentChangers", {"EndDate": "2026-11-20"}, {"EndDate": "2026-11-20"}),
    "any past window": (
        "GetValueSegmentChangers",
        {"StartDate": "2018-03-01", "EndDate": "2018-05-30"},
        {"StartDate": "2018-03-01", "EndDate": "2018-05-30"},
    ),
    "list of attributes": (
        "GetAllActions",
        {"CustomerAttributes": ["Alias", "Country"]},
        {"CustomerAttributes": "Alias;Country"},
    ),
    "tuple of attributes": (
        "GetAllActions",
        {"customer_attributes": ("Alias", "Country")},
        {"CustomerAttributes": "Alias;Country"},
    ),
    "attributes as text": (
        "GetAllActions",
        {"CustomerAttributes": "Alias; Country"},
        {"CustomerAttributes": "Alias;Country"},
    ),
    "10 attributes": (
        "GetAllActions",
        {"CustomerAttributes": list("ABCDEFGHIJ")},
        {"CustomerAttributes": "A;B;C;D;E;F;G;H;I;J"},
    ),
    "no attributes": ("GetAllActions", {"CustomerAttributes": []}, {}),
    "product attributes unquoted": (
        "GetCustomerProductDetailsByDate",
        {"Date": "2026-11-20", "ProductAttributes": ["color", "style"]},
        {"Date": "2026-11-20", "ProductAttributes": "color,style"},
    ),
    "more than 10 product attributes": (
        "GetCustomerProductRecommendations",
        {"ProductAttributes": list("ABCDEFGHIJK")},
        {"ProductAttributes": "A,B,C,D,E,F,G,H,I,J,K"},
    ),
    "event parameters": (
        "GetCustomerActivityEventAttributes",
        {"Date": "2026-11-20", "EventID": 1104, "EventParamIDs": [1, "2"]},
        {"Date": "2026-11-20", "EventID": 1104, "EventParamIDs": "1;2"},
    ),
    "one stage": ("GetCustomerFutureValues", {"LifecycleStageID": 3}, {"LifecycleStageID": "3"}),
    "several stages": ("GetCustomerFutureValues", {"LifecycleStageID": [1, 2, 3]}, {"LifecycleStageID": "1,2,3"}),
    "stages as text": ("GetCustomerFutureValues", {"LifecycleStageID": "1,2,3"}, {"LifecycleStageID": "1,2,3"}),
    "neither stage nor attribute": ("GetCustomerFutureValues", {}, {}),
    "attribute and value": (
        "GetCustomerFutureValues",
        {"CustomerAttribute": "Country", "CustomerAttributeValue": "UK"},
        {"CustomerAttribute": "Country", "CustomerAttributeValue": "UK"},
    ),
    "1 day": (
        "GetTransactionalTemplateMetrics",
        {"TemplateID": 1, "LastNumberOfDays": 1},
        {"TemplateID": 1, "LastNumberOfDays": 1},
    ),
    "60 days": (
        "GetTransactionalTemplateMetrics",
        {"TemplateID": 1, "LastNumberOfDays": "60"},
        {"TemplateID": 1, "LastNumberOfDays": 60},
    ),
    "an event of the tenant's": (
        "GetCampaignInteractionCustomers",
        {"Date": "2026-11-20", "ChannelID": 15, "EventID": 9},
        {"Date": "2026-11-20", "ChannelID": 15, "EventID": 9},
    ),
    "an event by its word": (
        "GetCampaignInteractionCustomers",
        {"Date": "2026-11-20", "ChannelID": 15, "EventID": "Clicked"},
        {"Date": "2026-11-20", "ChannelID": 15, "EventID": 3},
    ),
    "a channel of the tenant's": ("GetChannelTemplates", {"ChannelID": 8001}, {"ChannelID": 8001}),
    "a page": ("GetCurrentlyTargetedCustomers", {"$top": "200000", "$SKIP": 0}, {"$top": 200_000, "$skip": 0}),
    "message id of 254 characters": (
        "SendTransactionalMail",
        {**MAIL, "UniqueMessageID": "x" * 254},
        {**MAIL, "UniqueMessageID": "x" * 254},
    ),
    "empty personalization": (
        "SendTransactionalMail",
        {**MAIL, "Recipients": [{"Email": "v@example.com", "Personalizations": [{"Tag": "[%A%]", "Value": ""}]}]},
        {**MAIL, "Recipients": [{"Email": "v@example.com", "Personalizations": [{"Tag": "[%A%]", "Value": ""}]}]},
    ),
    "a password with spaces": (
        "Login",
        {"UserName": "someusername", "Password": " fake "},
        {"UserName": "someusername", "Password": " fake "},
    ),
}


@pytest.mark.parametrize(("name", "parameters", "expected"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(name: str, parameters: dict[str, Any], expected: dict[str, Any]) -> None:
    sent = bound(name, parameters)
    assert sent == expected
    assert {key: type(value) for key, value in sent.items()} == {key: type(expected[key]) for key in expected}


@pytest.mark.parametrize(
    "name", [d.name for d in catalogue().values() if not any(p.required for p in d.own_parameters)]
)
@pytest.mark.parametrize("delimiter", [",", ":", ";", "\t"])
def test_customer_attributes_everywhere(name: str, delimiter: str) -> None:
    given = {"customerattributes": ["Alias", "Country"], "CustomerAttributesDelimiter": delimiter}
    assert bound(name, given) == {"CustomerAttributes": "Alias;Country", "CustomerAttributesDelimiter": delimiter}


def test_customer_attributes_of_a_write() -> None:
    sent = bound("AddPromotions", {"CustomerAttributes": ["Alias"]}, body=[PROMOTION])
    assert sent == {"Promotions": [PROMOTION], "CustomerAttributes": "Alias"}


@pytest.mark.parametrize("written", [True, "true", "True", " TRUE ", 1, "1"])
def test_true(written: Any) -> None:
    sent = bound("GetCustomerOneTimeActionsByDate", {"Date": "2026-11-20", "IncludeControlGroup": written})
    assert sent["IncludeControlGroup"] is True


@pytest.mark.parametrize("written", [False, "false", "False", " FALSE ", 0, "0"])
def test_false(written: Any) -> None:
    sent = bound("GetCustomerOneTimeActionsByDate", {"Date": "2026-11-20", "IncludeControlGroup": written})
    assert sent["IncludeControlGroup"] is False


CET = datetime.timezone(datetime.timedelta(hours=1))


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (datetime.datetime(2026, 11, 20, 9, 33), "2026-11-20 09:33:00"),
        (datetime.datetime(2026, 11, 20, 9, 33, 5, 999_999), "2026-11-20 09:33:05"),
        (datetime.datetime(2026, 11, 20, 0, 33, tzinfo=CET), "2026-11-19 23:33:00"),
        (pendulum.datetime(2026, 7, 1, 1, 0, tz="Europe/Berlin"), "2026-06-30 23:00:00"),
        ("2026-11-20 09:33:00", "2026-11-20 09:33:00"),
        ("2026-11-20T09:33:00Z", "2026-11-20 09:33:00"),
        ("2026-11-20T09:33:00+01:00", "2026-11-20 08:33:00"),
        (datetime.datetime(987, 1, 2, 3, 4, 5), "0987-01-02 03:04:05"),
    ],
)
def test_times_are_sent_in_utc(written: Any, sent: str) -> None:
    assert bound("UpdateCustomerPromotionStatus", {**STATUS, "TimeStamp": written})["TimeStamp"] == sent
    assert bound("SendTransactionalMail", {**MAIL, "schedule_time": written})["ScheduleTime"] == sent


def test_rows_are_sent_with_the_guides_names_and_types() -> None:
    written = {"channelid": "15", "CAMPAIGNID": NumpyLike(42), "templateID": 8, "metricId": "7", "MetricValue": "0"}
    expected = {"ChannelID": 15, "CampaignID": 42, "TemplateID": 8, "MetricID": 7, "MetricValue": 0}
    assert checked_rows(catalogue()["UpdateCampaignMetrics"], [written]) == [expected]
    optional = {**written, "recipientgroupid": None}
    assert checked_rows(catalogue()["UpdateCampaignMetrics"], [optional]) == [expected]
    status = {"customerid": 234638, "STATUS": "False"}
    assert checked_rows(catalogue()["UpdateCustomerPromotionStatus"], [status]) == [
        {"CustomerID": "234638", "Status": False}
    ]


@pytest.mark.parametrize("rows", [[PROMOTION], (PROMOTION,), iter([PROMOTION])], ids=["list", "tuple", "iterator"])
def test_rows_come_in_any_sequence(rows: Iterable[Any]) -> None:
    assert bound("AddPromotions", body=rows) == {"Promotions": [PROMOTION]}


def test_the_users_rows_stay_as_they_are() -> None:
    row = {"promocode": 23, "PromotionName": "Welcome back"}
    bound("AddPromotions", body=[row])
    assert row == {"promocode": 23, "PromotionName": "Welcome back"}


@pytest.mark.parametrize("body", [INTERACTIONS, {name.lower(): value for name, value in INTERACTIONS.items()}])
def test_a_body_may_be_given_as_the_guide_shows_it(body: dict[str, Any]) -> None:
    assert bound("UpdateCampaignInteractions", body=body) == INTERACTIONS
    assert bound("AddChannelApps", {"ChannelID": 3}, body=[{"appid": "a", "AppName": "b"}]) == {
        "ChannelID": 3,
        "Apps": [{"AppID": "a", "AppName": "b"}],
    }


@pytest.mark.parametrize(
    "written", ["GetCampaignDetails", "getcampaigndetails", "GETCAMPAIGNDETAILS", "get_campaign_details"]
)
def test_functions_in_any_letter_case(written: str) -> None:
    assert find_function(written).name == "GetCampaignDetails"


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("GetCampainDetails", "; did you mean GetCampaignDetails?"),
        ("get_campain_details", "; did you mean GetCampaignDetails?"),
        ("GetActivityEventsList", "; did you mean GetActivityEventList?"),
        ("Frobnicate", None),
        (None, None),
        (17, None),
    ],
)
def test_unknown_function(written: Any, hint: str | None) -> None:
    with pytest.raises(OptimoveUnknownFunctionError, match=re.escape(repr(written))) as caught:
        find_function(written)
    assert str(caught.value).endswith(hint) if hint else "did you mean" not in str(caught.value)


@pytest.mark.parametrize("value", [0, 200_001, True, None, "many"])
def test_a_value_that_is_no_parameter_of_optimoves(value: Any) -> None:
    with pytest.raises(OptimoveInputError) as caught:
        checked_value(catalogue()["GetCurrentlyTargetedCustomers"], "page_size", value, Integer(1, 200_000))
    (problem,) = caught.value.problems
    assert problem.startswith("page_size: expected a whole number from 1 to 200000, got ")
