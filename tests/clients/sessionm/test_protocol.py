"""What is sent to SessionM, and what is refused before it is sent."""

from __future__ import annotations

import datetime
import json
import uuid
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_optimove.clients.http import HttpAnswer
from airflow_provider_optimove.clients.sessionm import protocol
from airflow_provider_optimove.clients.sessionm.endpoints import ENDPOINTS
from airflow_provider_optimove.exceptions import OptimoveInputError, SessionMError

BEGIN = datetime.datetime(2026, 11, 20, 9, 30)
CAMPAIGN: dict[str, Any] = {"name": "Winter", "status": "live", "starts_at": BEGIN, "ends_at": "2026-12-24 00:00:00"}
ALL_IDS = {"user_id": "U", "external_id": "E", "auth_token": "T", "campaign_id": 7, "permalink": "P"}


def requested(operation: str, *names: str, query: dict[str, Any] | None = None, **ids: Any) -> Any:
    given: dict[str, Any] = {**dict.fromkeys(names), **ids}
    return protocol.request_of(operation, given, api_key="key", query=query)


def problems_of(operation: str, *names: str, query: dict[str, Any] | None = None, **ids: Any) -> tuple[str, ...]:
    with pytest.raises(OptimoveInputError) as caught:
        requested(operation, *names, query=query, **ids)
    assert caught.value.function == operation
    return caught.value.problems


# Addresses


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.verb} {endpoint.path}")
def test_each_set_of_ids_has_its_address(endpoint: Any) -> None:
    possible = {name for other in ENDPOINTS if other.operation == endpoint.operation for name in other.ids}
    given = {name: ALL_IDS[name] if name in endpoint.ids else None for name in possible}
    request = protocol.request_of(endpoint.operation, given, api_key="key")
    filled = endpoint.path.format(api_key="key", **ALL_IDS)
    path, _, in_query = filled.partition("?")
    assert (request.verb, f"/{request.path}") == (endpoint.verb, path)
    assert request.query == ((("auth_token", "T"),) if in_query else ())


@pytest.mark.parametrize(
    "text", ["a@b.example", "a/b", "a?b", "a#b", "../x", "a b", "ü&=+;", "%2F", "a\nb", "...", "0"]
)
def test_any_text_is_one_step_of_the_address(text: str) -> None:
    path = requested("progress", external_id=text, permalink=text).path
    steps = path.split("/")
    assert [unquote(steps[6]), unquote(steps[9]), len(steps)] == [text, text, 11]
    assert not {"?", "#", " ", "\n"} & set(path)


def test_whole_numbers_are_ids() -> None:
    assert requested("opt_in", user_id=17, campaign_id="565").path == "priv/v1/apps/key/users/17/campaigns/565/opt_in"


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ({}, "expected exactly one, which tells the customer; got none"),
        ({"user_id": "U", "external_id": "E"}, "got user_id and external_id"),
        ({"user_id": ""}, "user_id: is empty"),
        ({"external_id": "  "}, "external_id: is empty"),
        ({"user_id": ".."}, "user_id: .. cannot stand in an address"),
        ({"user_id": "."}, "cannot stand in an address"),
        ({"external_id": "half \ud800"}, "external_id: holds half of a surrogate pair"),
        ({"user_id": 1.0}, "user_id: expected a text or a whole number, got float"),
        ({"user_id": True}, "got bool"),
    ],
)
def test_bad_ids_of_a_customer(ids: dict[str, Any], words: str) -> None:
    (problem,) = problems_of("eligible_campaigns", "user_id", "external_id", **ids)
    assert words in problem


def test_all_that_is_wrong_is_told_at_once() -> None:
    problems = problems_of("progress", "user_id", "auth_token", "permalink", campaign_id="spring", query={"x": [""]})
    assert problems == (
        "user_id, auth_token: expected exactly one, which tells the customer; got none",
        "campaign_id: expected a whole number; any other id of a campaign is its permalink",
        "x: is empty",
    )


def test_a_token_is_not_shown() -> None:
    assert "fake-token" not in str(problems_of("progress", campaign_id=1, auth_token="fake-token \ud800"))


# Queries


def test_lists_are_repeated_parameters() -> None:
    query = {
        "sections[]": ["offers", "progress", "offers"],
        "filters[]": "all",
        "creatives[]": ("",),
        "division_ids": iter(["a", 2]),
        "page_size": 50,
    }
    assert requested("eligible_campaigns", user_id="U", query=query).query == (
        ("sections[]", "offers"),
        ("sections[]", "progress"),
        ("filters[]", "all"),
        ("creatives[]", ""),
        ("division_ids", "a"),
        ("division_ids", "2"),
        ("page_size", "50"),
    )


def test_what_is_not_given_is_not_sent() -> None:
    query: dict[str, Any] = {"sections[]": (), "division_ids": [], "page_size": None, "api_version": None}
    assert requested("eligible_campaigns", user_id="U", query=query).query == ()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"sections[]": ["offer"]}, "sections: expected progress, behaviors, offers, redemptions, got 'offer'"),
        ({"sections[]": [""]}, "sections: expected"),
        ({"filters[]": "none"}, "filters: expected eligible, ineligible, all, got 'none'"),
        ({"creatives[]": ["tiles"]}, "creatives: expected promotion, tile, got 'tiles'"),
        ({"creatives[]": ["", "tile"]}, "creatives: an empty one stands for none"),
        ({"division_ids": ["a", None]}, "division_ids: expected texts or whole numbers"),
        ({"division_ids": 1.5}, "division_ids: expected texts"),
        ({"division_ids": " "}, "division_ids: is empty"),
        # What templates make of lists and of nothing.
        (
            {"division_ids": "['division-north']"},
            "division_ids: expected texts or whole numbers, got text of something",
        ),
        ({"division_ids": ["('a', 'b')"]}, "division_ids: expected texts or whole numbers, got text of something"),
        ({"division_ids": "None"}, "division_ids: expected texts or whole numbers, got text of something"),
        ({"page_size": 0}, "page_size: expected a whole number above 0, got 0"),
        ({"page_size": True}, "page_size: expected"),
    ],
)
def test_bad_values_of_a_query(query: dict[str, Any], words: str) -> None:
    (problem,) = problems_of("eligible_campaigns", user_id="U", query=query)
    assert problem.startswith(words)


# Campaigns


def test_times_are_sent_in_utc() -> None:
    berlin = datetime.datetime(2026, 11, 20, 9, 30, 0, 999, tzinfo=ZoneInfo("Europe/Berlin"))
    sent = protocol.campaign_to_create(
        {**CAMPAIGN, "starts_at": berlin, "opt_in_starts_at": "2026-11-20T09:30:00+05:30", "start_date": BEGIN}
    )
    assert sent["starts_at"] == "2026-11-20T08:30:00Z"
    assert sent["ends_at"] == "2026-12-24T00:00:00Z"
    assert sent["opt_in_starts_at"] == "2026-11-20T04:00:00Z"
    assert sent["start_date"] == "2026-11-20T09:30:00Z"


def test_an_external_id_is_made_where_there_is_none() -> None:
    made = [protocol.campaign_to_create({**CAMPAIGN, "external_id": empty})["external_id"] for empty in (None, "")]
    assert made[0] != made[1]
    assert str(uuid.UUID(made[0])) == made[0]
    assert protocol.campaign_to_create({**CAMPAIGN, "external_id": "mine"})["external_id"] == "mine"
    assert protocol.campaign_to_create({**CAMPAIGN, "permalink": "mine"})["external_id"] == "mine"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"name": 2026, "division_id": 7}, {"name": "2026", "division_id": "7"}),
        ({"weight": "5", "total_budget": " -1 ", "group_id": 0}, {"weight": 5, "total_budget": -1, "group_id": 0}),
        ({"optin_required": "True"}, {"optin_required": True}),
        ({"optin_required": "false"}, {"optin_required": False}),
        ({"optin_required": 1, "qualified": "0"}, {"optin_required": True, "qualified": False}),
        ({"metadata": '{"a": [1]}'}, {"metadata": {"a": [1]}}),
        ({"external_id": 26}, {"external_id": "26"}),
        ({"newer_attribute": "5"}, {"newer_attribute": "5"}),
    ],
)
def test_what_templates_made_text_of_is_sent_as_what_it_is(given: dict[str, Any], sent: dict[str, Any]) -> None:
    campaign = protocol.campaign_to_create({**CAMPAIGN, **given})
    assert {name: campaign[name] for name in sent} == sent
    assert [type(campaign[name]) for name in sent] == [type(value) for value in sent.values()]


def test_other_attributes_pass() -> None:
    extra = {"metadata": {"a": [1]}, "optin_required": True, "newer_attribute": 5}
    sent = protocol.campaign_to_create({**CAMPAIGN, **extra, "campaign_type": "messaging", "template": "messaging"})
    assert extra.items() <= sent.items()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": None}, "name: missing"),
        ({"name": " "}, "name: missing"),
        ({"status": ""}, "status: missing"),
        ({"ends_at": None}, "ends_at: missing"),
        ({"status": "running"}, "status: expected live, paused, draft, inreview, completed, got 'running'"),
        ({"status": ["live"]}, "status: expected"),
        ({"campaign_type": "game"}, "campaign_type: expected promotion, messaging, got 'game'"),
        ({"template": "game"}, "template: expected promotion"),
        ({"campaign_type": "promotion", "template": "messaging"}, "template: expected the same as campaign_type"),
        ({"ends_at": BEGIN}, "ends_at: expected a time after starts_at"),
        (
            {"ends_at": "2026-12-24"},
            "ends_at: expected a datetime, or a text such as 2026-11-20T09:30:00Z, got '2026-12-24'",
        ),
        ({"ends_at": datetime.date(2026, 12, 24)}, "ends_at: expected a datetime"),
        ({"reporting_ends_at": "soon"}, "reporting_ends_at: expected a datetime"),
        (
            {"opt_in_starts_at": BEGIN, "opt_in_ends_at": "2026-11-20T09:29:59Z"},
            "opt_in_ends_at: expected a time after opt_in_starts_at",
        ),
        ({"name": True}, "name: expected a text, got True"),
        ({"qualify_tag": "None"}, "qualify_tag: expected a text, got 'None'"),
        ({"weight": "abc"}, "weight: expected a whole number, got 'abc'"),
        ({"weight": True}, "weight: expected a whole number, got True"),
        ({"total_budget": 1.5}, "total_budget: expected a whole number, got 1.5"),
        ({"optin_required": "yes"}, "optin_required: expected true or false, got 'yes'"),
        ({"optin_required": "None"}, "optin_required: expected true or false, got 'None'"),
        ({"optin_required": ""}, "optin_required: expected true or false, got ''"),
        ({"qualified": 2}, "qualified: expected true or false, got 2"),
        ({"metadata": "{'a': 1}"}, "metadata: expected an object, or its text in JSON, got \"{'a': 1}\""),
        ({"metadata": "x" * 500}, f"metadata: expected an object, or its text in JSON, got '{'x' * 99}"),
        ({"targeting": [1]}, "targeting: expected an object, or its text in JSON, got list"),
        ({"opt_in_starts_at": ""}, "opt_in_starts_at: expected a datetime"),
        ({"external_id": ".."}, "external_id: .. cannot stand in an address"),
        ({"external_id": " "}, "external_id: is empty"),
        ({"external_id": "None"}, "external_id: expected an id, got 'None'"),
        ({"permalink": " None "}, "permalink: expected an id, got 'None'"),
        ({"external_id": {"a": 1}}, "external_id: expected a text or a whole number, got dict"),
        ({"permalink": "."}, "permalink: . cannot stand in an address"),
        ({"permalink": ["winter"]}, "permalink: expected a text or a whole number, got list"),
        ({"newer_attribute": object()}, "holds what cannot be sent"),
        ({"name": "half \ud800"}, "holds what cannot be sent"),
        (
            {"ends_at": datetime.datetime.max.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=-9)))},
            "ends_at: ",
        ),
    ],
)
def test_campaigns_that_are_not_sent(change: dict[str, Any], words: str) -> None:
    with pytest.raises(OptimoveInputError) as caught:
        protocol.campaign_to_create({**CAMPAIGN, **change})
    (problem,) = caught.value.problems
    assert problem.startswith(words)
    assert len(problem) < 200


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("starts_at", "start_at", "; is 'start_at' a misspelling of it?"),
        ("ends_at", "endsAt", "; is 'endsAt' a misspelling of it?"),
        ("starts_at", "begin", ""),
        # It has a meaning of its own.
        ("starts_at", "start_date", ""),
    ],
)
def test_an_attribute_that_may_be_misspelt(name: str, given: str, words: str) -> None:
    campaign = {**CAMPAIGN, given: CAMPAIGN[name]}
    del campaign[name]
    with pytest.raises(OptimoveInputError) as caught:
        protocol.campaign_to_create(campaign)
    assert caught.value.problems == (f"{name}: missing{words}",)


def test_a_campaign_is_a_mapping() -> None:
    with pytest.raises(OptimoveInputError, match="create_campaign: campaign: expected a mapping, got str"):
        protocol.campaign_to_create("campaign.json")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "differ"),
    [
        ({"starts_at": "2026-11-20 09:30:00", "ends_at": "2026-12-24T00:00:00Z"}, []),
        ({"starts_at": "2026-11-20T10:30:00+01:00", "ends_at": None}, []),
        ({"ends_at": "soon"}, []),
        (
            {"starts_at": "2026-11-20 09:30:01", "ends_at": "2026-12-24 00:00:00"},
            ["starts_at is 2026-11-20T09:30:01Z in SessionM, and 2026-11-20T09:30:00Z here"],
        ),
        (
            {"starts_at": "2025-11-20T09:30:00Z", "ends_at": "2025-12-24T00:00:00Z"},
            [
                "starts_at is 2025-11-20T09:30:00Z in SessionM, and 2026-11-20T09:30:00Z here",
                "ends_at is 2025-12-24T00:00:00Z in SessionM, and 2026-12-24T00:00:00Z here",
            ],
        ),
    ],
)
def test_times_tell_another_campaign(found: dict[str, Any], differ: list[str]) -> None:
    assert protocol.times_that_differ(protocol.campaign_to_create(CAMPAIGN), found) == differ


# Rows


def test_rows_of_campaigns_say_whose_and_what_they_are() -> None:
    campaigns = {
        "tiles": [{"campaign_id": 1}],
        "promotions": [{"campaign_id": 2, "user_id": "theirs"}],
        "games": [{}],
        "x": 1,
    }
    assert list(protocol.campaign_rows(campaigns, {"user_id": "U"})) == [
        {"user_id": "U", "kind": "tile", "campaign_id": 1},
        {"user_id": "theirs", "kind": "promotion", "campaign_id": 2},
        {"user_id": "U", "kind": "games"},
    ]


# Answers


def answered(operation: str, content: Any, status: int = 200) -> Any:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    part = {"opt_in": protocol.opted_in_by, "active_campaigns": protocol.campaigns_in}
    return protocol.answer_of(
        operation, HttpAnswer(status, "Said", {}, body), part.get(operation, protocol.campaign_in)
    )


@pytest.mark.parametrize("status", ["completed", "not_qualified", "ok", None])
def test_a_bare_campaign_has_a_status_of_its_own(status: str | None) -> None:
    bare = {"campaign_id": 16, "status": status}
    assert answered("campaign_of_customer", bare) == bare


def test_a_byte_order_mark_is_no_part_of_it() -> None:
    assert answered("active_campaigns", b'\xef\xbb\xbf{"status":"ok","campaigns":[]}') == []


@pytest.mark.parametrize("content", [{}, {"name": "Winter"}, {"id": None}])
def test_a_created_campaign_has_an_id(content: dict[str, Any]) -> None:
    answer = HttpAnswer(200, "OK", {}, json.dumps({"status": "ok", "campaign": content}).encode())
    with pytest.raises(
        SessionMError,
        match=r"expected the campaign with its id, and SessionM answered: a JSON object of about \d+ bytes",
    ) as caught:
        protocol.answer_of("create_campaign", answer, protocol.created_campaign_in)
    assert (caught.value.permanent, caught.value.may_have_happened) == (True, True)


def test_an_opt_in_without_campaigns_succeeded() -> None:
    assert answered("opt_in", {"status": "ok"}) == {"tiles": [], "promotions": []}


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (
            {"status": "error", "errors": {"code": "User_not_found"}},
            "User_not_found",
            "SessionM answered User_not_found",
        ),
        ({"status": "Error", "errors": [{"code": "a", "message": "b"}]}, "a", "SessionM answered a: b"),
        ({"status": "error", "errors": "a"}, "a", "SessionM answered a"),
        ({"status": "error"}, None, "SessionM answered an error without a code"),
        ({"status": "error", "errors": {"code": 5}}, "5", "SessionM answered 5"),
        ({"status": "error", "campaign_id": 1, "errors": []}, None, "SessionM answered an error without a code"),
    ],
)
def test_errors_in_any_form(content: Any, code: str | None, words: str) -> None:
    for operation in ("opt_in", "campaign_of_customer"):
        with pytest.raises(SessionMError) as caught:
            answered(operation, content)
        assert (caught.value.code, caught.value.message) == (code, words)
        assert (caught.value.refused, caught.value.permanent, caught.value.may_have_happened) == (True, True, False)
