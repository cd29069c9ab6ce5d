"""What the sandbox refuses and with which words; paging; what was written can be read back."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_optimove.clients.optimove.functions import catalogue
from airflow_provider_optimove.sandbox import UNDOCUMENTED_PAGING, OptimoveSandbox

TODAY = "2026-11-20"
YESTERDAY = "2026-11-19"
ELEVEN = ";".join(["Alias"] * 11)
PAGED = [function.name for function in catalogue().values() if function.paged]


@pytest.mark.parametrize(
    ("function", "query", "words"),
    [
        ("GetExecutedCampaignDetails", {}, "GetExecutedCampaignDetails needs Date"),
        ("GetExecutedCampaignDetails", {"Date": "20.11.2026"}, "Date must be a date as YYYY-MM-DD, not '20.11.2026'"),
        ("GetExecutedCampaignDetails", {"Date": "2026-02-30"}, "Date must be a date"),
        ("GetExecutedCampaignDetails", {"Date": ""}, "Date must be a date"),
        ("GetCampaignDetails", {"CampaignID": "abc"}, "CampaignID must be a whole number, not 'abc'"),
        ("GetCampaignDetails", {"CampaignID": "-5"}, "CampaignID must be at least 0, not -5"),
        ("GetCampaignDetails", {"CampaignID": 1, "Color": "red"}, "does not recognize the parameter 'Color'"),
        ("GetCampaignDetails", {"CampaignID": 1, "campaignid": 2}, "CampaignID is given more than once"),
        ("GetCampaignDetails", {"CampaignID": 1, "_top": 5}, "does not recognize the parameter '$top'"),
        ("GetLastDataUpdate", {"_skip": 5}, "does not recognize the parameter '$skip'"),
        ("GetCurrentlyTargetedCustomers", {"_top": 200_001}, "$top must be between 1 and 200000, not 200001"),
        ("GetCurrentlyTargetedCustomers", {"_top": 0}, "$top must be between 1"),
        ("GetCurrentlyTargetedCustomers", {"_skip": -1}, "$skip must be at least 0"),
        ("GetCurrentlyTargetedCustomers", {"_filter": "x"}, "'$filter'"),
        ("GetCurrentlyTargetedCustomers", {"CustomerAttributes": "Alias;Shoe"}, "'Shoe' is not a customer attribute"),
        ("GetCurrentlyTargetedCustomers", {"CustomerAttributes": "Alias,Country"}, "'Alias,Country' is not a customer"),
        ("GetCurrentlyTargetedCustomers", {"CustomerAttributes": ELEVEN}, "has 11 values; at most 10"),
        ("GetCurrentlyTargetedCustomers", {"CustomerAttributesDelimiter": "|"}, "must be one of"),
        ("GetAllActions", {"CustomerAttributes": "Shoe"}, "'Shoe' is not a customer attribute"),
        (
            "GetCustomersByAction",
            {"RecipientGroupID": -1, "ActionID": 2, "Date": TODAY},
            "RecipientGroupID must be at least 0",
        ),
        (
            "GetCustomerActionsByTargetGroup",
            {"TargetGroupID": -1, "Date": TODAY},
            "GetCustomerOneTimeActionsByDate or GetCustomerOneTimeActionsByCampaign",
        ),
        (
            "GetCustomerActionsByTargetGroup",
            {"TargetGroupID": 1, "Date": TODAY, "IncludeControlGroup": "yes"},
            "IncludeControlGroup must be true or false, not 'yes'",
        ),
        (
            "GetCustomerFutureValues",
            {"LifecycleStageID": 1, "CustomerAttribute": "Country", "CustomerAttributeValue": "DE"},
            "takes LifecycleStageID or CustomerAttribute with CustomerAttributeValue, not both",
        ),
        ("GetCustomerFutureValues", {"CustomerAttribute": "Country"}, "needs CustomerAttributeValue along with"),
        ("GetCustomerFutureValues", {"LifecycleStageID": "1;2"}, "LifecycleStageID must be a whole number"),
        ("GetCustomerFutureValues", {"LifecycleStageID": 9}, "LifecycleStageID 9 is not known"),
        (
            "GetCustomerAttributeChangers",
            {"StartDate": YESTERDAY, "EndDate": YESTERDAY, "ChangedCustomerAttribute": "Age"},
            "changes of Age are not watched",
        ),
        (
            "GetCustomerAttributeChangers",
            {"StartDate": TODAY, "EndDate": YESTERDAY, "ChangedCustomerAttribute": "Country"},
            "EndDate must not be before StartDate",
        ),
        ("GetCustomerProductDetailsByDate", {"Date": TODAY, "ProductAttributes": '"color"'}, "not a product attribute"),
        ("GetCustomerProductRecommendations", {"RecommendationType": 3}, "between 1 and 2"),
        ("GetTransactionalTemplateMetrics", {"TemplateID": 127, "LastNumberOfDays": 61}, "between 1 and 60, not 61"),
        (
            "GetCustomerActivityEventAttributes",
            {"Date": YESTERDAY, "EventID": 1104, "EventParamIDs": 9},
            "no parameter of the event 1104",
        ),
    ],
)
def test_bad_queries_are_explained(call: Any, function: str, query: dict[str, Any], words: str) -> None:
    answer = call(function, **query)

    assert answer.status == 400
    assert words in answer.text


PROMOTION = {"PromoCode": "A", "PromotionName": "B"}
INTERACTION = {"CampaignID": 1, "ChannelID": 15, "InteractionDate": TODAY, "TemplateID": 1, "EventID": 2}


@pytest.mark.parametrize(
    ("function", "body", "words"),
    [
        ("AddPromotions", None, "AddPromotions needs a JSON body"),
        ("AddPromotions", PROMOTION, "the body must be an array"),
        ("AddPromotions", [PROMOTION] * 101, "101 rows; one call takes at most 100 rows"),
        ("AddPromotions", [PROMOTION, {"PromoCode": "A"}], "row 2 of the body needs PromotionName"),
        ("AddPromotions", [{**PROMOTION, "Color": 1}], "row 1 of the body has an unknown field"),
        ("AddPromotions", [{**PROMOTION, "promocode": "a"}], "row 1 of the body has PromoCode more than once"),
        ("AddPromotions", [{"PromoCode": 5, "PromotionName": "B"}], "PromoCode in row 1 of the body must be a string"),
        (
            "AddPromotions",
            [{"PromoCode": "", "PromotionName": "B"}],
            "PromoCode in row 1 of the body must not be empty",
        ),
        ("AddPromotions", ["A"], "row 1 of the body must be an object"),
        ("AddChannelTemplates", [{"TemplateID": 1, "TemplateName": "x"}], "AddChannelTemplates needs ChannelID"),
        ("UpdateCampaignInteractions", {**INTERACTION, "CustomerIDs": ["a"] * 50_001}, "at most 50000 rows"),
        ("UpdateCampaignInteractions", {**INTERACTION, "CustomerIDs": [7]}, "must be a string, not 7"),
        (
            "UpdateCampaignInteractions",
            {**INTERACTION, "CustomerIDs": ["a"], "EventID": True},
            "EventID must be a whole",
        ),
        ("SetCustomerChannelPreference", {"ChannelID": 1, "CustomerIDs": ["a"], "CommunicationMode": 3}, "between 1"),
        ("SendTransactionalMail", {"TemplateID": 127, "Recipients": [{"Email": "a"}] * 201}, "at most 200 rows"),
        (
            "SendTransactionalMail",
            {"TemplateID": 127, "Recipients": [{"Email": "a"}], "ScheduleTime": "2026-11-20T10:00:00"},
            "ScheduleTime must be a time as YYYY-MM-DD HH:MM:SS",
        ),
        (
            "SendTransactionalMail",
            {"TemplateID": 127, "Recipients": [{"Email": "a"}], "UniqueMessageID": "x" * 255},
            "UniqueMessageID has 255 characters; at most 254",
        ),
        (
            "SendTransactionalMail",
            {"TemplateID": 127, "Recipients": [{"Email": "a", "Personalizations": [{"Tag": "x"}]}]},
            "needs Value",
        ),
        ("RegisterEventListener", {"EventTypeID": 3, "ListenerURL": "nowhere"}, "http or https"),
        ("RegisterEventListener", {"EventTypeID": 99, "ListenerURL": "https://a.example"}, "99 is not known"),
        ("RemoveCustomerPII", {"CustomerIDs": "C0000001"}, "CustomerIDs must be an array"),
    ],
)
def test_bad_bodies_are_explained(call: Any, function: str, body: Any, words: str) -> None:
    answer = call(function, body)

    assert answer.status == 400
    assert words in answer.text


def test_invalid_json_is_refused(sandbox: OptimoveSandbox, call: Any) -> None:
    call.connection.request("POST", "/current/integrations/AddPromotions", "[{", {"X-API-KEY": sandbox.api_key})

    response = call.connection.getresponse()

    assert (response.status, response.read()) == (400, b"the body of AddPromotions is not valid JSON")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/current/customers/GetNothing", 405),
        ("/current/actions/GetCurrentlyTargetedCustomers", 405),
        ("/somewhere", 404),
        ("/v2/current/customers/GetCurrentlyTargetedCustomers", 404),
    ],
)
def test_unknown_functions_and_paths(call: Any, path: str, status: int) -> None:
    assert call.send("GET", path).status == status


@pytest.mark.parametrize(("style", "opening"), [("text", "Get"), ("string", '"Get'), ("object", '{"status":400')])
def test_error_styles(sandbox: OptimoveSandbox, call: Any, style: str, opening: str) -> None:
    sandbox.error_style = style

    assert call("GetCampaignDetails").text.startswith(opening)


# Paging


def _walk(call: Any, function: str, top: int, **query: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while page := call(function, _top=top, _skip=len(rows), **query).json:
        assert len(page) <= top
        rows += page
    return rows


@pytest.mark.parametrize("top", [7, 97, 1000])
def test_pages_hold_every_row_once(call: Any, top: int) -> None:
    query = {"Date": TODAY, "CustomerAttributes": "Age"}

    rows = _walk(call, "GetCustomerActionDetailsByDate", top, **query)

    assert rows == call("GetCustomerActionDetailsByDate", **query).json
    assert len({(row["CustomerID"], row["ChannelID"]) for row in rows}) == len(rows) > 300


def test_a_page_has_10000_rows_unless_asked_otherwise(caller_of: Any) -> None:
    with OptimoveSandbox(customers=10_050) as sandbox:
        call = caller_of(sandbox)
        assert len(call("GetCustomerFutureValues").json) == 10_000
        assert len(call("GetCustomerFutureValues", _skip=10_000).json) == 50
        assert len(call("GetCustomerFutureValues", _top=20_000).json) == 10_050


def test_paging_switches(sandbox: OptimoveSandbox, call: Any) -> None:
    sandbox.clamp_top = 30
    assert len(call("GetCustomerFutureValues", _top=100).json) == 30
    sandbox.clamp_top = None
    sandbox.ignore_skip = True
    assert call("GetCustomerFutureValues", _top=5).text == call("GetCustomerFutureValues", _top=5, _skip=5).text
    sandbox.refuse_top = UNDOCUMENTED_PAGING
    refused = call("GetMicrosegmentChangers", _top=5)
    assert (refused.status, "$top" in refused.text) == (400, True)
    assert call("GetMicrosegmentChangers").status == 200
    assert call("GetCustomerFutureValues", _top=5).status == 200


def test_paged_functions_are_those_of_customers() -> None:
    assert len(PAGED) == 24
    assert set(UNDOCUMENTED_PAGING) < set(PAGED)


# Drift


def test_drift(sandbox: OptimoveSandbox, call: Any) -> None:
    sandbox.drift = True
    sandbox.attributes_as_text = True
    (campaign, *_) = call("GetExecutedCampaignDetails", Date=TODAY).json
    assert isinstance(campaign["CampaignID"], str)
    row = call(
        "GetCustomerExecutionDetailsByCampaign",
        CampaignID=campaign["CampaignID"],
        CustomerAttributes="Age;Country",
        CustomerAttributesDelimiter=":",
    ).json[0]
    assert row["ChannelId"] == "15"
    assert row["TemplateId"].startswith("15")
    age, country = row["CustomerAttributes"].split(":")
    assert (age.isdigit(), len(country)) == (True, 2)
    assert {"id", "name"} < call("GetActivityEventList").json[0].keys()
    assert isinstance(call("GetCustomerActivityEventAttributes", Date=YESTERDAY, EventID=1104).json[0]["Events"], dict)


def test_names_of_earlier_days_are_understood(call: Any) -> None:
    dates = {"StartDate": YESTERDAY, "EndDate": YESTERDAY}
    earlier = call("GetCustomerAttributeChangers", **dates, ChangedCustomerAttributes="Country").json
    present = call("GetCustomerAttributeChangers", **dates, ChangedCustomerAttribute="Country").json
    assert [row["FinalCustomerAttributes"] for row in earlier] == [row["FinalCustomerAttribute"] for row in present]
    by_value = call("GetCustomerFutureValues", CustomerAttributes="Country", CustomerAttributeValue="DE").text
    assert by_value == call("GetCustomerFutureValues", CustomerAttribute="Country", CustomerAttributeValue="DE").text
    assert call("GetMicrosegmentChangers", **dates).text == call("GetMicrosegmentChangers").text
    assert call("GetCustomerActionDetailsByDate", Date=TODAY, StartDate=TODAY).status == 400


# What was written


def test_promotions_can_be_read_back(sandbox: OptimoveSandbox, call: Any) -> None:
    call(
        "AddPromotions",
        [{"PromoCode": "A", "PromotionName": "50% off {{ 7*7 }}"}, {"PromoCode": "B", "PromotionName": "Bé"}],
    )
    call("AddPromotions", [{"PromoCode": "B", "PromotionName": "New"}])
    assert call("GetPromotions").json == [
        {"PromoCode": "A", "PromotionName": "50% off {{ 7*7 }}"},
        {"PromoCode": "B", "PromotionName": "New"},
    ]
    call("DeletePromotions", [{"PromoCode": "A"}, {"PromoCode": "unknown"}])
    assert sandbox.promotions == {"B": "New"}


def test_templates_apps_and_triggers_can_be_read_back(sandbox: OptimoveSandbox, call: Any) -> None:
    call("AddChannelTemplates", [{"TemplateID": 9, "TemplateName": "Nine", "AppID": None}], ChannelID=3)
    assert call("GetChannelTemplates", ChannelID=3).json == [{"TemplateID": 9, "TemplateName": "Nine"}]
    assert "Nine" in call("GetChannelTemplateDetails", ChannelID=3, TemplateID=9).json[0]["TemplateContent"]
    call("DeleteChannelTemplates", [{"ChannelID": 3, "TemplateID": 9}])
    assert call("GetChannelTemplates", ChannelID=3).json == []
    call("AddChannelApps", [{"AppID": "a", "AppName": "A"}, {"AppID": "b", "AppName": "B"}], ChannelID=506)
    call("DeleteChannelApps", [{"ChannelID": 506, "AppID": "a"}])
    assert sandbox.apps == {506: {"b": "B"}}
    call("AddExternalRealtimeTriggers", [{"TriggerID": "R1", "TriggerName": "One"}])
    assert call("GetExternalRealtimeTriggers").json == [{"TriggerID": "R1", "TriggerName": "One"}]
    assert sandbox.realtime_triggers == {"R1": "One"}


def test_listeners(sandbox: OptimoveSandbox, call: Any) -> None:
    plain, encoded = "https://listener.example.com/a?b=c", "https%3A%2F%2Flistener.example.com%2Fa%3Fb%3Dc"
    for url in (plain, encoded):
        for channel in (505, None):
            call("RegisterEventListener", {"EventTypeID": 13, "ChannelID": channel, "ListenerURL": url})
    call("RegisterEventListener", {"EventTypeID": 3, "ListenerURL": plain})
    assert call("GetRegisteredEventListeners").json == [
        {"EventTypeID": 13, "ChannelID": 505, "ListenerURL": encoded},
        {"EventTypeID": 13, "ChannelID": None, "ListenerURL": encoded},
        {"EventTypeID": 3, "ChannelID": None, "ListenerURL": encoded},
    ]
    assert len(call("GetRegisteredEventListeners", ChannelID=505).json) == 1
    call("UnregisterEventListener", {"EventTypeID": 13, "ChannelID": 505, "ListenerURL": plain})
    assert [tuple(listener) for listener in sandbox.listeners] == [(13, None, plain), (3, None, plain)]
    call("UnregisterEventListener", {"EventTypeID": 13})
    assert [listener.event_type_id for listener in sandbox.listeners] == [3]


def test_statuses_metrics_interactions_and_preferences(sandbox: OptimoveSandbox, call: Any) -> None:
    for status in (False, True):
        call(
            "UpdateCustomerPromotionStatus",
            {
                "TimeStamp": "2026-11-20 08:00:00",
                "CampaignID": 7,
                "PromosUpdated": [{"CustomerID": "C1", "Status": status}],
            },
        )
    assert sandbox.promotion_statuses == {7: {"C1": True}}
    figure = {"ChannelID": 15, "CampaignID": 7, "TemplateID": 1, "MetricID": 0, "MetricValue": 3}
    call("UpdateCampaignMetrics", [figure, {**figure, "RecipientGroupID": 0}])
    assert [row["RecipientGroupID"] for row in sandbox.metrics] == [1, 0]
    told = {**INTERACTION, "EventID": 4, "CustomerIDs": ["C0000001", "C2"]}
    call("UpdateCampaignInteractions", told)
    assert sandbox.interactions[0]["CustomerIDs"] == ["C0000001", "C2"]
    campaign_date = "2020-01-01"
    assert [
        row["CustomerID"]
        for row in call("GetCampaignInteractionCustomers", Date=campaign_date, ChannelID=15, EventID=4).json
        if row["CampaignID"] == 1
    ][-2:] == ["C0000001", "C2"]
    own = call("GetCustomerChannelInteractions", CustomerID="C0000001", StartDate=TODAY, EndDate=TODAY).json
    assert {"CampaignID": 1, "EventID": 4}.items() <= own[-1].items()
    call(
        "SetCustomerChannelPreference",
        {"ChannelID": 15, "CustomerIDs": ["C1", "C2"], "CommunicationMode": 2, "AppID": "a"},
    )
    assert sandbox.preferences == {(15, "a"): {"C1": 2, "C2": 2}}


def test_erased_customers(call: Any, sandbox: OptimoveSandbox) -> None:
    body = {"CustomerIDs": ["C0000001", "stranger", "C0000002"]}
    assert call("RemoveCustomerPII", body).json == {"FailedCustomerIDs": ["stranger"]}
    assert call("RemoveCustomerPII", body).json == {"FailedCustomerIDs": ["C0000001", "stranger", "C0000002"]}
    assert sandbox.erased_customers == {"C0000001", "C0000002"}
    rows = call("GetCustomerFutureValues", CustomerAttributes="Email;Country", _top=2).json
    assert rows[0]["CustomerAttributes"][0] != ""
    assert rows[1]["CustomerAttributes"][0] == ""
    assert rows[1]["CustomerAttributes"][1] != ""


def test_mail(sandbox: OptimoveSandbox, call: Any) -> None:
    mail = {"TemplateID": 127, "Recipients": [{"Email": "ada@example.com", "Personalizations": []}]}
    assert call("SendTransactionalMail", {**mail, "TemplateID": 5}).json == {
        "IsSuccess": False,
        "SendID": None,
        "Error": "Invalid template",
    }
    first = call("SendTransactionalMail", {**mail, "UniqueMessageID": "once"}).json
    assert (first["IsSuccess"], first["Error"]) == (True, None)
    assert call("SendTransactionalMail", {**mail, "UniqueMessageID": "once"}).status == 409
    assert call("SendTransactionalMail", mail).json["SendID"] == first["SendID"] + 1
    assert len(sandbox.mails) == 2
    assert call("GetTransactionalUserMetrics", Email="Ada@example.com").json["MetricsList"][0]["Sent"] == 2
    sandbox.refuse_unique_message_id = True
    refused = call("SendTransactionalMail", {**mail, "UniqueMessageID": "twice"})
    assert (refused.status, "UniqueMessageID" in refused.text) == (400, True)


def test_the_row_limit_can_be_lowered(sandbox: OptimoveSandbox, call: Any) -> None:
    body = {**INTERACTION, "CustomerIDs": ["a"] * 10_001}
    assert call("UpdateCampaignInteractions", body).status == 200
    sandbox.row_limits["UpdateCampaignInteractions"] = 10_000
    refused = call("UpdateCampaignInteractions", body)
    assert (refused.status, refused.text) == (400, "CustomerIDs has 10001 rows; one call takes at most 10000 rows")
    assert [recorded.rows for recorded in sandbox.calls] == [10_001, 10_001]


# Rows that are refused

PREFERENCE = {"ChannelID": 15, "CommunicationMode": 2}


def test_a_call_with_a_refused_row_takes_no_effect(sandbox: OptimoveSandbox, call: Any) -> None:
    sandbox.refuse_rows("setcustomerchannelpreference", "C2", "CustomerID C2 is unknown")
    sandbox.refuse_rows("SetCustomerChannelPreference", 7, "CustomerID 7 is too short")
    ids = ["C1", "7", "C2", "C3"]

    refused = call("SetCustomerChannelPreference", {**PREFERENCE, "CustomerIDs": ids})
    assert (refused.status, refused.text) == (400, "CustomerID 7 is too short")
    assert sandbox.preferences == {}
    assert call("SetCustomerChannelPreference", {**PREFERENCE, "CustomerIDs": ids[2:]}).text.startswith("CustomerID C2")
    assert call("SetCustomerChannelPreference", {**PREFERENCE, "CustomerIDs": ["C1", "C3"]}).status == 200
    assert sandbox.preferences == {(15, None): {"C1": 2, "C3": 2}}
    assert [(made.rows, made.status) for made in sandbox.calls] == [(4, 400), (2, 400), (2, 200)]


def test_a_row_is_refused_for_one_of_its_fields(sandbox: OptimoveSandbox, call: Any) -> None:
    rows = [{"TemplateID": number, "TemplateName": f"T{number}"} for number in (8, 9)]
    sandbox.refuse_rows("AddChannelTemplates", 9, "TemplateID 9 is taken")
    sandbox.error_style = "object"

    refused = call("AddChannelTemplates", rows, ChannelID=3)
    assert refused.json == {"status": 400, "error": "Bad Request", "message": "TemplateID 9 is taken"}
    assert 3 not in sandbox.channel_templates
    assert call("AddChannelTemplates", rows[:1], ChannelID=3).status == 200
    assert call("AddPromotions", [{"PromoCode": "9", "PromotionName": "Nine"}]).status == 200


def test_refused_rows_are_forgiven(sandbox: OptimoveSandbox, call: Any) -> None:
    for function in ("AddPromotions", "DeletePromotions"):
        sandbox.refuse_rows(function, "A", "no such code")

    sandbox.forgive_rows("addpromotions")
    assert call("AddPromotions", [PROMOTION]).status == 200
    assert call("DeletePromotions", [{"PromoCode": "A"}]).status == 400
    sandbox.forgive_rows()
    assert call("DeletePromotions", [{"PromoCode": "A"}]).status == 200


@pytest.mark.parametrize("function", ["AddPromotion", "GetPromotions", "Login"])
def test_only_functions_that_take_rows_can_refuse_them(sandbox: OptimoveSandbox, function: str) -> None:
    words = f"{function} is no function that takes rows"
    with pytest.raises(ValueError, match=words):
        sandbox.refuse_rows(function, "A", "no")
    with pytest.raises(ValueError, match=words):
        sandbox.forgive_rows(function)


def test_a_mail_fails_for_one_of_its_recipients(sandbox: OptimoveSandbox, call: Any) -> None:
    recipients = [{"Email": f"{name}@example.com"} for name in ("ada", "mia")]
    mail = {"TemplateID": 127, "Recipients": recipients, "UniqueMessageID": "once"}
    sandbox.fail_mails("mia@example.com", "Blocked")

    failed = call("SendTransactionalMail", mail)
    assert (failed.status, failed.json) == (200, {"IsSuccess": False, "SendID": None, "Error": "Blocked"})
    assert sandbox.mails == []
    assert call("SendTransactionalMail", {**mail, "Recipients": recipients[:1]}).json["IsSuccess"]
    sandbox.forgive_rows("SendTransactionalMail")
    assert call("SendTransactionalMail", {**mail, "UniqueMessageID": "twice"}).json["IsSuccess"]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["a", 7], "row 2 of CustomerIDs must be a string, not 7"),
        (["a", ""], "row 2 of CustomerIDs must not be empty"),
        (["a", None], "row 2 of CustomerIDs must be a string, not null"),
    ],
)
def test_an_id_that_is_wrong_is_named(call: Any, ids: list[Any], words: str) -> None:
    assert call("RemoveCustomerPII", {"CustomerIDs": ids}).text == words


def test_no_ids_are_no_harm(call: Any) -> None:
    assert call("RemoveCustomerPII", {"CustomerIDs": []}).json == {"FailedCustomerIDs": []}
