"""The SessionM of the sandbox, over HTTP."""

from __future__ import annotations

import base64
import datetime
import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_optimove.clients.sessionm.endpoints import (
    CAMPAIGN_ATTRIBUTES,
    ENDPOINTS,
    STATES,
    Endpoint,
    endpoint_for,
)
from airflow_provider_optimove.sandbox.sessionm import FOREIGN_DIVISION, SessionMSandbox, addressed

NOW = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC)
NEW = {
    "name": "Winter",
    "status": "live",
    "starts_at": "2026-11-01T00:00:00Z",
    "ends_at": "2026-12-24T00:00:00Z",
}
CREATE = "/priv/v1/apps/sandbox-key/campaigns"

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def sessionm() -> Iterator[SessionMSandbox]:
    with SessionMSandbox(customers=50, now=NOW) as running:
        yield running


@pytest.fixture
def ask(sessionm: SessionMSandbox) -> Iterator[Ask]:
    connection = http.client.HTTPConnection("127.0.0.1", sessionm.port, timeout=10)

    def send(path: str, body: Any = None, *, verb: str | None = None, login: str | None = None) -> tuple[int, Any]:
        credentials = f"{sessionm.api_key}:{sessionm.api_secret}" if login is None else login
        headers = {"Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        connection.request(verb or ("GET" if body is None else "POST"), path, content, headers)
        response = connection.getresponse()
        text = response.read().decode()
        return response.status, json.loads(text) if text.startswith(("{", "[")) else text

    yield send
    connection.close()


def ids_of(sessionm: SessionMSandbox, *, customer: int = 2, campaign: int = 1) -> dict[str, str]:
    registered = sessionm.customers[customer]
    return {
        "api_key": sessionm.api_key,
        "user_id": registered.user_id,
        "external_id": registered.external_id or "",
        "auth_token": sessionm.visitors[0].auth_token or "",
        "campaign_id": str(campaign),
        "permalink": sessionm.campaigns[campaign].permalink,
    }


def address(sessionm: SessionMSandbox, operation: str, *ids: str, query: str = "", **which: int) -> str:
    path = endpoint_for(operation, ids).path.format(**ids_of(sessionm, **which))
    return f"{path}{'&' if '?' in path else '?'}{query}" if query else path


def error(code: str, message: str = "") -> dict[str, Any]:
    return {"status": "error", "errors": {"code": code, **({"message": message} if message else {})}}


# Addresses and credentials


def test_the_table_has_the_21_addresses() -> None:
    assert len(ENDPOINTS) == len({(endpoint.verb, endpoint.path) for endpoint in ENDPOINTS}) == 21
    counts: dict[str, int] = {}
    for endpoint in ENDPOINTS:
        counts[endpoint.operation] = counts.get(endpoint.operation, 0) + 1
    assert counts == {
        "create_campaign": 1,
        "opt_in": 2,
        "campaigns_of_customer": 3,
        "progress": 6,
        "eligible_campaigns": 2,
        "campaign_of_customer": 4,
        "active_campaigns": 1,
        "campaign_info": 2,
    }
    assert {endpoint.operation for endpoint in ENDPOINTS if endpoint.writes} == {"create_campaign", "opt_in"}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.verb} {endpoint.path}")
def test_every_address_answers(sessionm: SessionMSandbox, ask: Ask, endpoint: Endpoint) -> None:
    path = endpoint.path.format(**ids_of(sessionm))
    status, answer = ask(path, {"campaign": NEW} if endpoint.verb == "POST" else None)
    assert status == 200
    assert answer["status"] != "error"
    (call,) = sessionm.calls
    assert (call.function, call.verb, call.status) == (endpoint.operation, endpoint.verb, 200)
    # The other addresses are not taken for it, but for the two that only the server can tell apart.
    found = [one for one, _ in addressed(endpoint.verb, path.partition("?")[0], ["auth_token"] if "?" in path else [])]
    assert endpoint in found
    told_apart_by_the_server = endpoint.operation == "campaign_of_customer" and "external_id" in endpoint.ids
    assert len(found) == (2 if told_apart_by_the_server else 1)


@pytest.mark.parametrize("path", ["/", CREATE[:-1], "/priv/v3/apps/sandbox-key/campaigns", "/api/v1/apps/k/campaigns"])
def test_another_address_is_none(ask: Ask, path: str) -> None:
    assert ask(path)[0] == 404


def test_a_token_belongs_to_its_own_address(sessionm: SessionMSandbox, ask: Ask) -> None:
    token = sessionm.visitors[0].auth_token
    status, answer = ask(f"/priv/v1/apps/sandbox-key/campaigns?auth_token={token}")
    assert (status, type(answer["campaigns"])) == (200, list)


@pytest.mark.parametrize("login", ["sandbox-key:wrong", "wrong:sandbox-secret", "sandbox-key", ":"])
def test_wrong_credentials(ask: Ask, login: str) -> None:
    assert ask(CREATE, login=login) == (401, error("Invalid_api_key"))


def test_a_key_in_the_address_must_be_the_same(ask: Ask) -> None:
    assert ask("/priv/v1/apps/another-key/campaigns") == (401, error("Invalid_api_key"))


def test_the_record_of_calls_holds_no_secret(sessionm: SessionMSandbox, ask: Ask) -> None:
    ask(address(sessionm, "progress", "campaign_id", "auth_token"))
    shown = repr(sessionm.calls)
    assert sessionm.api_key not in shown
    assert str(sessionm.visitors[0].auth_token) not in shown


def test_a_connection(sessionm: SessionMSandbox) -> None:
    assert json.loads(sessionm.connection) == {
        "conn_type": "sessionm",
        "host": sessionm.url,
        "login": "sandbox-key",
        "password": "sandbox-secret",
    }


# Creating


def test_what_is_created_is_there(sessionm: SessionMSandbox, ask: Ask) -> None:
    sent = {
        **NEW,
        "external_id": "winter-26",
        "campaign_type": "messaging",
        "metadata": {"a": [1]},
        "optin_required": True,
    }
    status, answer = ask(CREATE, {"campaign": sent})
    assert status == 200
    assert answer == {
        "status": "ok",
        "campaign": {
            "id": 46,
            "external_id": "winter-26",
            "name": "Winter",
            "starts_at": "2026-11-01T00:00:00Z",
            "ends_at": "2026-12-24T00:00:00Z",
            "status": "live",
            "weight": 5,
            "total_budget": 0,
            "campaign_type": "messaging",
            "template": "messaging",
            "metadata": {"a": [1]},
            "optin_required": True,
            "division_id": "division-north",
        },
    }
    assert sessionm.created == [sent]
    info = ask("/priv/v1/apps/sandbox-key/external/campaigns/winter-26/info")[1]["campaign"]
    assert (info["campaign_id"], info["optin_required"]) == (46, True)
    assert ask("/priv/v1/apps/sandbox-key/users/{user_id}/campaigns/46/opt_in".format(**ids_of(sessionm)))[0] == 200


def test_without_an_external_id_one_is_made(ask: Ask) -> None:
    assert len(ask(CREATE, {"campaign": NEW})[1]["campaign"]["external_id"]) == 36


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        ({}, "missing_data", 200),
        ({"campaign": {}}, "missing_data", 200),
        (b"no JSON", "missing_data", 200),
        ({"campaign": {**NEW, "test": 1}}, "argument_error", 200),
        ({"campaign": {**NEW, "division_id": "unknown"}}, "not_found", 404),
        ({"campaign": {**NEW, "division_id": FOREIGN_DIVISION}}, "not_found", 404),
        ({"campaign": {**NEW, "name": "Campaign 1"}}, "validation", 200),
        ({"campaign": {**NEW, "name": ""}}, "validation", 200),
        ({"campaign": {name: NEW[name] for name in ("name", "status", "starts_at")}}, "validation", 200),
        ({"campaign": {**NEW, "status": "running"}}, "validation", 200),
        ({"campaign": {**NEW, "campaign_type": "game"}}, "validation", 200),
        ({"campaign": {**NEW, "template": "messaging"}}, "validation", 200),
        ({"campaign": {**NEW, "ends_at": NEW["starts_at"]}}, "validation", 200),
        ({"campaign": {**NEW, "ends_at": "soon"}}, "validation", 200),
    ],
)
def test_what_cannot_be_created(sessionm: SessionMSandbox, ask: Ask, body: Any, code: str, status: int) -> None:
    told, answer = ask(CREATE, body)
    assert (told, answer["status"], answer["errors"]["code"]) == (status, "error", code)
    assert (sessionm.created, len(sessionm.campaigns)) == ([], 45)


def test_unknown_attributes_are_named(ask: Ask) -> None:
    assert ask(CREATE, {"campaign": {**NEW, "test": 1}})[1] == error(
        "argument_error", "Unknown campaign attributes test."
    )
    assert "test" not in CAMPAIGN_ATTRIBUTES


# Opting in


def test_an_opt_in_changes_the_state(sessionm: SessionMSandbox, ask: Ask) -> None:
    progress = address(sessionm, "progress", "external_id", "permalink")
    assert ask(progress)[1]["campaign"]["state"] == "qualified"
    status, answer = ask(address(sessionm, "opt_in", "user_id", "campaign_id"))
    assert (status, list(answer["campaigns"])) == (200, ["tiles", "promotions"])
    after = ask(progress)[1]["campaign"]
    assert (after["state"], after["opted_in"]) == ("opted_in", True)
    assert sessionm.opt_ins == [(1, sessionm.customers[2].user_id)]
    ask(address(sessionm, "opt_in", "external_id", "campaign_id"))
    assert sessionm.opt_ins == [(1, sessionm.customers[2].user_id)] * 2


@pytest.mark.parametrize(
    ("campaign", "customer", "code", "status"),
    [
        (1, 9, "user_ineligible_for_campaign", 200),
        (7, 2, "user_ineligible_for_campaign", 200),
        (6, 2, "user_ineligible_for_campaign", 200),
        (3, 2, "opt_in_not_started", 200),
        (4, 2, "opt_in_ended", 200),
    ],
)
def test_opt_ins_that_are_refused(
    sessionm: SessionMSandbox, ask: Ask, campaign: int, customer: int, code: str, status: int
) -> None:
    path = address(sessionm, "opt_in", "user_id", "campaign_id", campaign=campaign, customer=customer)
    assert ask(path) == (status, error(code))
    assert sessionm.opt_ins == []


def test_a_limit_of_opt_ins(sessionm: SessionMSandbox, ask: Ask) -> None:
    codes = []
    for customer in range(8):
        _, answer = ask(address(sessionm, "opt_in", "user_id", "campaign_id", campaign=5, customer=customer))
        codes.append(answer.get("errors", {}).get("code"))
    assert codes == [None] * 5 + ["user_ineligible_for_campaign"] + ["opt_in_limit_reached"] * 2


# Reading


def test_campaigns_of_a_customer(sessionm: SessionMSandbox, ask: Ask) -> None:
    answer = ask(address(sessionm, "campaigns_of_customer", "user_id"))[1]["campaigns"]
    tile, promotion = answer["tiles"][0], answer["promotions"][0]
    assert (tile["campaign_id"], tile["template"]["type"]) == (2, "internal_tile")
    assert sessionm.api_key in tile["template"]["action"]["tracking_urls"][0]
    assert (promotion["campaign_id"], promotion["template"]["type"]) == (1, "internal_full_page")
    assert promotion["start_date"] == "2026-11-10 12:00:00"
    states = {campaign["progress"]["state"] for campaign in answer["promotions"]}
    assert {"qualified", "completed", "in_progress"} <= states <= set(STATES)
    begun = next(campaign for campaign in answer["promotions"] if campaign["progress"]["state"] == "in_progress")
    assert isinstance(begun["behaviors"], dict)
    assert isinstance(begun["progress"]["behaviors"], list)


def test_a_token_in_the_urls_is_the_visitors(sessionm: SessionMSandbox, ask: Ask) -> None:
    answer = ask(address(sessionm, "campaigns_of_customer", "auth_token"))[1]["campaigns"]
    assert (
        f"auth_token={sessionm.visitors[0].auth_token}&" in answer["tiles"][0]["template"]["action"]["tracking_urls"][0]
    )


@pytest.mark.parametrize("name", ["division_ids", "division_ids[]"])
@pytest.mark.parametrize("operation", ["campaigns_of_customer", "eligible_campaigns", "active_campaigns"])
def test_divisions(sessionm: SessionMSandbox, ask: Ask, operation: str, name: str) -> None:
    who = () if operation == "active_campaigns" else ("user_id",)

    def divisions(query: str) -> set[str | None]:
        found = ask(address(sessionm, operation, *who, query=query))[1]["campaigns"]
        campaigns = [*found["tiles"], *found["promotions"]] if isinstance(found, dict) else found
        return {campaign.get("division_id") for campaign in campaigns}

    both = {"division-north", "division-south"}
    assert divisions("") == both
    assert divisions(f"{name}=division-north") == {"division-north"}
    assert divisions(f"{name}=division-north&{name}=division-south") == both
    sessionm.multi_org = False
    assert divisions(f"{name}=division-north") == {None}


def test_pages_are_cut_out_before_they_are_filtered(sessionm: SessionMSandbox, ask: Ask) -> None:
    first = ask(address(sessionm, "eligible_campaigns", "user_id"))[1]
    assert (first["page"], first["page_size"], first["number_of_pages"]) == (1, 20, 3)
    assert {campaign["qualified"] for campaign in first["campaigns"]} == {True}
    sizes, seen = [], []
    for number in range(1, 10):
        page = ask(address(sessionm, "eligible_campaigns", "user_id", query=f"page={number}&page_size=5"))[1]
        assert (page["page"], page["page_size"], page["number_of_pages"]) == (number, 5, 9)
        sizes.append(len(page["campaigns"]))
        seen += [campaign["campaign_id"] for campaign in page["campaigns"]]
    assert min(sizes) < max(sizes) <= 5
    live = [number for number in range(1, 46) if number % 9 in (1, 2, 3, 4, 5, 7)]
    assert seen == [number for number in live if (number + 2) % 10]
    empty = ask(address(sessionm, "eligible_campaigns", "user_id", query="page=3&page_size=2"))[1]["campaigns"]
    assert [campaign["campaign_id"] for campaign in empty] == [5]
    assert ask(address(sessionm, "eligible_campaigns", "user_id", query="page=8&page_size=1"))[1]["campaigns"] == []
    assert ask(address(sessionm, "eligible_campaigns", "user_id", query="page=99"))[1]["campaigns"] == []


def test_filters_sections_and_creatives(sessionm: SessionMSandbox, ask: Ask) -> None:
    def campaigns(query: str) -> list[dict[str, Any]]:
        path = address(sessionm, "eligible_campaigns", "external_id", query=f"page_size=50&{query}")
        return list(ask(path)[1]["campaigns"])

    eligible, ineligible = campaigns("filters[]=eligible"), campaigns("filters[]=ineligible")
    assert campaigns("") == eligible
    assert {campaign["status"] for campaign in ineligible} == {"not_qualified"}
    assert len(campaigns("filters[]=all")) == len(eligible) + len(ineligible)
    assert not {"progress", "behaviors", "offers", "redemptions", "creative"} & eligible[0].keys()
    told = campaigns("sections[]=progress&sections[]=behaviors&sections[]=offers&sections[]=redemptions")[0]
    kinds = [type(told[name]) for name in ("progress", "behaviors", "offers", "redemptions")]
    assert kinds == [dict, dict, list, list]
    creatives = [campaign.get("creative") for campaign in campaigns("creatives[]=tile")]
    assert {tuple(creative) for creative in creatives if creative} == {("tile",)}
    assert "promotion" in campaigns("creatives%5B%5D=promotion")[0]["creative"]
    assert "creative" not in campaigns("creatives[]=")[0]


def test_one_campaign_is_wrapped_by_internal_ids_and_bare_else(sessionm: SessionMSandbox, ask: Ask) -> None:
    wrapped = ask(address(sessionm, "campaign_of_customer", "user_id", "campaign_id"))[1]
    assert (wrapped["status"], wrapped["campaign"]["status"]) == ("ok", "qualified")
    for ids in (("user_id", "permalink"), ("external_id", "permalink"), ("external_id", "campaign_id")):
        assert ask(address(sessionm, "campaign_of_customer", *ids))[1] == wrapped["campaign"]
    ineligible = address(sessionm, "campaign_of_customer", "user_id", "permalink", query="filters[]=ineligible")
    assert ask(ineligible) == (404, error("No_active_campaign_found"))


def test_ids_are_decoded(sessionm: SessionMSandbox, ask: Ask) -> None:
    sessionm.campaigns[1].permalink = "spring/26? #..%2F ü"
    escaped = quote(sessionm.campaigns[1].permalink, safe="")
    path = f"/priv/v1/apps/sandbox-key/external/campaigns/{escaped}/info"
    assert ask(path)[1]["campaign"]["permalink"] == sessionm.campaigns[1].permalink


def test_active_campaigns_are_in_their_own_form(sessionm: SessionMSandbox, ask: Ask) -> None:
    first = ask(address(sessionm, "active_campaigns"))[1]["campaigns"][0]
    assert (first["id"], first["external_id"]) == (1, sessionm.campaigns[1].permalink)
    assert (first["starts_at"], first["metadata"]) == ("2026-11-10T12:00:00Z", {"campaign_version": 2})


# Errors


@pytest.mark.parametrize(
    ("operation", "ids", "code"),
    [
        ("opt_in", ("user_id", "campaign_id"), "User_not_found"),
        ("campaigns_of_customer", ("external_id",), "User_not_found"),
        ("campaigns_of_customer", ("auth_token",), "User_not_found"),
        ("progress", ("user_id", "permalink"), "User_not_found"),
        ("eligible_campaigns", ("user_id",), "User_not_found"),
        ("campaign_info", ("campaign_id",), "No_active_campaign_found"),
        ("campaign_info", ("permalink",), "No_active_campaign_found"),
    ],
)
def test_who_and_what_is_not_known(
    sessionm: SessionMSandbox, ask: Ask, operation: str, ids: tuple[str, ...], code: str
) -> None:
    unknown = {**ids_of(sessionm), **dict.fromkeys(ids, "99"), "api_key": sessionm.api_key}
    assert ask(endpoint_for(operation, ids).path.format(**unknown)) == (404, error(code))


def test_progress_has_a_code_of_its_own(sessionm: SessionMSandbox, ask: Ask) -> None:
    path = endpoint_for("progress", ("user_id", "campaign_id")).path
    assert ask(path.format(**{**ids_of(sessionm), "campaign_id": "99"})) == (404, error("no_campaign_found"))


def test_campaigns_that_are_not_there(sessionm: SessionMSandbox, ask: Ask) -> None:
    assert ask(address(sessionm, "active_campaigns", query="division_ids=x")) == (
        404,
        error("not_found", "Parent model not found."),
    )
    blank = ask(address(sessionm, "active_campaigns", query="division_ids="))
    assert blank[1]["errors"]["code"] == "validation"
    path = address(sessionm, "campaigns_of_customer", "user_id")
    sessionm.campaigns.clear()
    assert ask(path) == (404, error("No_active_campaign_found"))
    assert ask(CREATE)[1] == error("missing_data", "Missing campaign data.")


def test_refused_on_demand(sessionm: SessionMSandbox, ask: Ask) -> None:
    second, third = sessionm.customers[2], sessionm.customers[3]
    sessionm.refuse("opt_in", "opt_in_error", customer=second.external_id, times=1)
    sessionm.refuse("opt_in", "opt_in_ended", customer=third.user_id, status=404)
    opt_in = [address(sessionm, "opt_in", "user_id", "campaign_id", customer=number) for number in (2, 3, 4)]
    assert ask(opt_in[0]) == (500, error("opt_in_error"))
    assert ask(opt_in[1]) == (404, error("opt_in_ended"))
    assert [ask(path)[0] for path in opt_in] == [200, 404, 200]
    sessionm.forgive()
    assert ask(opt_in[1])[0] == 200
    with pytest.raises(ValueError, match="no operation opt_out"):
        sessionm.refuse("opt_out", "opt_in_error")


def test_statuses_and_spellings_of_codes(sessionm: SessionMSandbox, ask: Ask) -> None:
    sessionm.refuse("campaign_info", "User_not_found")
    sessionm.error_statuses["user_not_found"] = 500
    sessionm.code_case = str.upper
    assert ask(address(sessionm, "campaign_info", "campaign_id")) == (500, error("USER_NOT_FOUND"))
    sessionm.error_statuses.clear()
    assert ask(address(sessionm, "campaign_info", "campaign_id"))[0] == 200


def test_switches_of_pages_states_and_numbers(sessionm: SessionMSandbox, ask: Ask) -> None:
    second_page = address(sessionm, "eligible_campaigns", "user_id", query="page=2")
    sessionm.endless_pages = True
    assert ask(second_page)[1]["number_of_pages"] == 3
    sessionm.ignore_page = True
    assert ask(second_page)[1]["page"] == 1
    sessionm.states[1, sessionm.customers[2].user_id] = "opted_out"
    assert ask(address(sessionm, "progress", "user_id", "campaign_id"))[1]["campaign"]["opted_in"] is False
    sessionm.drift = True
    assert ask(second_page)[1]["campaigns"][0]["campaign_id"] == "1"
    assert ask(second_page)[1]["campaigns"][0]["qualified"] is True


def test_faults_hit_one_operation(sessionm: SessionMSandbox, ask: Ask) -> None:
    sessionm.fail("opt_in", status=503)
    assert ask(CREATE)[0] == 200
    assert ask(address(sessionm, "opt_in", "user_id", "campaign_id"))[0] == 503
    assert sessionm.opt_ins == []
    assert [call.status for call in sessionm.calls_of("opt_in")] == [503]
