"""The made-up account hangs together, and is the same for the same seed."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_optimove.sandbox import OptimoveSandbox

TODAY = "2026-11-20"
YESTERDAY = "2026-11-19"

SOME_READS: list[tuple[str, dict[str, Any]]] = [
    ("GetMicrosegmentList", {}),
    ("GetExecutedCampaignDetails", {"Date": TODAY}),
    ("GetCurrentlyTargetedCustomers", {"CustomerAttributes": "Alias;Email;Age"}),
    ("GetCustomerProductRecommendations", {"ProductAttributes": "color,price"}),
    ("GetCustomerActivityEventAttributes", {"Date": YESTERDAY, "EventID": 1105}),
]


def _read_all(sandbox: OptimoveSandbox, caller_of: Callable[[OptimoveSandbox], Any]) -> list[str]:
    call = caller_of(sandbox)
    return [call(name, **query).text for name, query in SOME_READS]


def test_the_same_seed_gives_the_same_account(caller_of: Any) -> None:
    today = datetime.date.fromisoformat(TODAY)
    read = []
    for seed in (7, 7, 8):
        with OptimoveSandbox(customers=300, seed=seed, today=today) as sandbox:
            read.append(_read_all(sandbox, caller_of))

    assert read[0] == read[1]
    assert all(one != other for one, other in zip(read[0], read[2], strict=True))


@pytest.mark.parametrize("customers", [0, 1, 7])
def test_a_small_account_answers_too(caller_of: Any, customers: int) -> None:
    with OptimoveSandbox(customers=customers, today=datetime.date.fromisoformat(TODAY)) as sandbox:
        call = caller_of(sandbox)
        assert all(call(name, **query).status == 200 for name, query in SOME_READS)
        assert len(call("GetCustomerFutureValues").json) == customers


def test_a_page_of_a_million_customers(caller_of: Any) -> None:
    with OptimoveSandbox(customers=1_000_000) as sandbox:
        page = caller_of(sandbox)("GetCurrentlyTargetedCustomers", _top=200_000, _skip=600_000).json
    assert len(page) == 200_000


def test_campaigns_of_a_day_can_be_followed_and_share_no_customer(call: Any) -> None:
    campaigns = call("GetExecutedCampaignDetails", Date=YESTERDAY).json
    reached: Counter[str] = Counter()
    for campaign in campaigns:
        number = campaign["CampaignID"]
        assert call("GetCampaignDetails", CampaignID=number).json == {
            key: value for key, value in campaign.items() if key != "CampaignID"
        }
        rows = call("GetCustomerExecutionDetailsByCampaign", CampaignID=number).json
        channels = {row["ChannelID"] for row in rows}
        assert campaign["IsMultiChannel"] == (len(channels) > 1)
        for channel in channels:
            sends = call("GetExecutedCampaignChannelDetails", CampaignID=number, ChannelID=channel).json
            templates = {row["TemplateID"] for row in call("GetChannelTemplates", ChannelID=channel).json}
            assert {row["TemplateID"] for row in rows if row["ChannelID"] == channel} == {
                send["TemplateID"] for send in sends
            }
            assert {send["TemplateID"] for send in sends} <= templates
            assert {"CampaignID": number} in call(
                "GetExecutedCampaignsByChannel", ChannelID=channel, Date=YESTERDAY
            ).json
        codes = {row["PromoCode"] for row in call("GetPromoCodesByCampaign", CampaignID=number).json}
        assert {row["PromoCode"] for row in rows} == (codes or {None})
        customers = {row["CustomerID"] for row in rows}
        processed = [row["CustomerID"] for row in call("GetProcessedCampaignCustomers", CampaignID=number).json]
        assert sorted(processed) == sorted(customers)
        reached.update(customers)
    assert len(campaigns) >= 5
    assert set(reached.values()) == {1}
    by_date = {row["CustomerID"] for row in call("GetCustomerActionDetailsByDate", Date=YESTERDAY).json}
    assert by_date == set(reached)


def test_a_customer_is_in_few_campaigns_at_once(call: Any) -> None:
    counts = Counter(row["CustomerID"] for row in call("GetCurrentlyTargetedCustomers").json)

    assert len(counts) > 500
    assert max(counts.values()) <= 7


def test_actions_of_a_target_group_match_their_customers(call: Any) -> None:
    (group, *_) = [row["TargetGroupID"] for row in call("GetTargetGroupsByDate", Date=TODAY).json]
    actions = call("GetActionsByTargetGroup", TargetGroupID=group, Date=TODAY).json
    query = {"TargetGroupID": group, "Date": TODAY}
    plain = call("GetCustomerActionsByTargetGroup", **query).json
    grouped = call(
        "GetCustomerActionsByTargetGroup", **query, IncludeControlGroup="true", IncludeRecipientGroupID="1"
    ).json

    assert all("RecipientGroupID" not in row and row["ActionID"] != 1 for row in plain)
    assert {row["ActionID"] for row in grouped if row["RecipientGroupID"] == 0} == {1}
    assert {(row["RecipientGroupID"], row["ActionID"]) for row in grouped} - {(0, 1)} == {
        (row["RecipientGroupID"], row["ActionID"]) for row in actions
    }
    wanted = {row["CustomerID"] for row in plain if row["ActionID"] == actions[0]["ActionID"]}
    found = call("GetCustomersByAction", **actions[0], Date=TODAY).json
    assert wanted <= {row["CustomerID"] for row in found}


def test_a_lead_time_makes_a_campaign_appear_earlier_without_customers(sandbox: OptimoveSandbox, call: Any) -> None:
    ahead = [
        campaign
        for days in range(3)
        for date in [sandbox.today - datetime.timedelta(days=days)]
        for campaign in call("GetExecutedCampaignDetails", Date=date).json
        if campaign["LeadTime"] and campaign["Status"] == "Not Run"
    ]

    assert ahead
    assert call("GetCustomerExecutionDetailsByCampaign", CampaignID=ahead[0]["CampaignID"]).json == []


def test_canceled_and_failed_campaigns(sandbox: OptimoveSandbox, call: Any) -> None:
    days = [sandbox.today - datetime.timedelta(days=back) for back in range(4)]
    made = [campaign for day in days for campaign in sandbox.world.campaigns(day)]
    canceled = next(campaign for campaign in made if campaign.kind.canceled)
    failed = next(campaign for campaign in made if campaign.kind.failed)
    executed = {row["CampaignID"] for day in days for row in call("GetExecutedCampaignDetails", Date=day).json}

    assert not executed & {canceled.number, failed.number}
    assert call("GetCampaignDetails", CampaignID=failed.number).json is None
    assert call("GetCampaignDetails", CampaignID=canceled.number).json["Status"] == "Not Run"
    assert call("GetCanceledCampaignCustomers", CampaignID=canceled.number).json
    assert call("GetCustomerExecutionDetailsByCampaign", CampaignID=canceled.number).json == []


@pytest.mark.parametrize(
    ("function", "query"),
    [
        ("GetExecutedCampaignDetails", {"Date": "2026-11-21"}),
        ("GetExecutedCampaignDetails", {"Date": "2019-12-31"}),
        ("GetCustomerActionDetailsByDate", {"Date": "1999-01-01"}),
        ("GetCustomersActionEndedByDate", {"Date": "0001-01-01"}),
        ("GetCustomersActionEndedByDate", {"Date": "9999-12-31"}),
        ("GetExecutedCampaignDetails", {"Date": "9999-12-31"}),
        ("GetCustomerExecutionDetailsByCampaign", {"CampaignID": 999_999_999}),
        ("GetCustomerExecutionDetailsByCampaign", {"CampaignID": 0}),
        ("GetCustomersByValueSegment", {"ValueSegmentID": 1, "Date": "2026-11-17"}),
        ("GetCustomersByValueSegment", {"ValueSegmentID": 9, "Date": YESTERDAY}),
        ("GetValueSegmentChangers", {"StartDate": "2026-11-01", "EndDate": YESTERDAY}),
        (
            "GetCustomerAttributeChangers",
            {"StartDate": YESTERDAY, "EndDate": TODAY, "ChangedCustomerAttribute": "country"},
        ),
        ("GetCustomerActivityEventAttributes", {"Date": TODAY, "EventID": 1104}),
        ("GetChannelTemplates", {"ChannelID": 77}),
        ("GetCustomerChannelInteractions", {"CustomerID": "who", "StartDate": YESTERDAY, "EndDate": TODAY}),
    ],
)
def test_no_data_is_an_empty_list(call: Any, function: str, query: dict[str, Any]) -> None:
    answer = call(function, **query)

    assert (answer.status, answer.text) == (200, "[]")


@pytest.mark.parametrize(
    ("function", "query"),
    [
        ("GetActionName", {"ActionID": 1}),
        ("GetActionID", {"ActionName": "nothing"}),
        ("GetTargetGroupName", {"TargetGroupID": 99}),
        ("GetCustomerLastActionExecuted", {"CustomerID": "who"}),
        ("GetTransactionalTemplateMetrics", {"TemplateID": 1}),
    ],
)
def test_no_data_is_null_where_an_object_is_due(call: Any, function: str, query: dict[str, Any]) -> None:
    assert call(function, **query).text == "null"


def test_the_data_date_can_be_let_arrive(sandbox: OptimoveSandbox, call: Any) -> None:
    assert call("GetLastDataUpdate").json == {"Date": YESTERDAY}
    sandbox.last_data_update = "2026-11-18"
    assert call("GetLastDataUpdate").json == {"Date": "2026-11-18"}
    sandbox.last_data_update = datetime.date(2026, 11, 19)
    assert call("GetLastDataUpdate").json == {"Date": YESTERDAY}
    sandbox.last_data_update = None
    sandbox.today = datetime.date(2026, 11, 22)
    assert call("GetLastDataUpdate").json == {"Date": "2026-11-21"}


def test_future_values_by_attribute(call: Any) -> None:
    germans = call(
        "GetCustomerFutureValues",
        CustomerAttribute="country",
        CustomerAttributeValue="de",
        CustomerAttributes="Country",
    ).json

    assert germans
    assert {row["CustomerAttributes"][0] for row in germans} == {"DE"}


def test_stages_part_the_customers(call: Any) -> None:
    by_stage = [call("GetCustomerFutureValues", LifecycleStageID=stage).json for stage in (1, 2, 3, 4)]

    assert sum(map(len, by_stage)) == 1000
    assert len({row["CustomerID"] for rows in by_stage for row in rows}) == 1000


def test_interactions_of_a_date_and_of_a_customer_agree(call: Any) -> None:
    row = call("GetCampaignInteractionCustomers", Date=YESTERDAY, ChannelID=15, EventID=3).json[0]
    own = call(
        "GetCustomerChannelInteractions", CustomerID=row["CustomerID"], StartDate=YESTERDAY, EndDate=YESTERDAY
    ).json

    assert {(found["CampaignID"], found["TemplateID"], found["EventID"]) for found in own} >= {
        (row["CampaignID"], row["TemplateID"], 2),
        (row["CampaignID"], row["TemplateID"], 3),
    }


def test_suggested_products_are_those_of_campaigns(call: Any) -> None:
    campaign_products = call("GetCustomerProductDetailsByDate", Date=YESTERDAY).json
    dates = {"StartDate": YESTERDAY, "EndDate": YESTERDAY}

    suggested = call("GetCustomerProductRecommendations", SuggestedInCampaign="true", **dates).json
    all_of_them = call("GetCustomerProductRecommendations", SuggestedInCampaign="false", **dates).json

    assert {(row["CustomerID"], row["ProductID"]) for row in suggested} == {
        (row["CustomerID"], row["ProductID"]) for row in campaign_products
    }
    assert len(all_of_them) == 3000
