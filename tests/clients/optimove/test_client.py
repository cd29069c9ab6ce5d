"""The client as a whole: arguments in, requests out, answers and errors back."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import re
import socket
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
import requests_mock
import urllib3

from airflow_provider_optimove.clients.answers import LONGEST_EXPLANATION
from airflow_provider_optimove.clients.http import HttpSettings
from airflow_provider_optimove.clients.optimove import auth
from airflow_provider_optimove.clients.optimove import client as client_module
from airflow_provider_optimove.clients.optimove.client import OptimoveClient, OptimoveSettings
from airflow_provider_optimove.exceptions import (
    OptimoveAuthenticationError,
    OptimoveBadRequestError,
    OptimoveError,
    OptimoveInputError,
    OptimovePermissionError,
    OptimoveRateLimitError,
    OptimoveRejectedRowsError,
    OptimoveResponseError,
    OptimoveServerError,
    OptimoveUncertainWriteError,
    OptimoveUnknownFunctionError,
    RemoteSystemError,
)

if TYPE_CHECKING:
    from tests.clients.conftest import Clock, LocalServer, LocalServers

BASE = "https://api5.optimove.example"
API_KEY = "fake-api-key-1"
PASSWORD = "fake-password-1"
TOKEN = "fake-token-1"
NEXT_TOKEN = "fake-token-2"
CAMPAIGN = {"TargetGroupID": 15, "Status": "Successful", "Error": None}
PROMOTIONS: Any = [{"PromoCode": "WB23", "PromotionName": "Welcome back"}]
METRICS = [{"ChannelID": 15, "CampaignID": 42, "TemplateID": 8, "MetricID": 0, "MetricValue": 925}]
MAIL = {"TemplateID": 127, "Recipients": [{"Email": "vivi@example.com"}]}
INTERACTIONS = {
    "CampaignID": 324,
    "ChannelID": 15,
    "InteractionDate": "2026-11-20",
    "TemplateID": 8,
    "EventID": 2,
    "CustomerIDs": ["A8272"],
}
NO_CONNECTION = requests.ConnectTimeout(
    urllib3.exceptions.MaxRetryError(
        urllib3.HTTPConnectionPool("127.0.0.1"), "/", urllib3.exceptions.ConnectTimeoutError("timed out")
    )
)
LOGIN_URL = f"{BASE}/current/general/Login"

pytestmark = pytest.mark.usefixtures("own_state_directory")


@pytest.fixture(autouse=True)
def without_pause_between_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "LOGIN_INTERVAL", 0.0)


@pytest.fixture
def api() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mock:
        yield mock


def client_of(
    base_url: str = BASE,
    *,
    login: bool = False,
    translate_error: Callable[[RemoteSystemError], RemoteSystemError] = lambda error: error,
    **http: Any,
) -> OptimoveClient:
    credentials: dict[str, Any] = {"api_key": API_KEY}
    if login:
        credentials = {"user_name": "someusername", "password": PASSWORD}
    settings = OptimoveSettings(http=HttpSettings(base_url, **http), rate_limit="", **credentials)
    return OptimoveClient(settings, translate_error=translate_error)


def url_of(path: str) -> str:
    return f"{BASE}/current/{path}"


# Calls


def test_a_call_with_an_api_key(api: requests_mock.Mocker) -> None:
    api.get(url_of("actions/GetCampaignDetails"), json=CAMPAIGN)
    client = client_of()
    assert client.call("getcampaigndetails", {"campaignid": "221"}) == CAMPAIGN
    assert client.call("get_campaign_details", campaign_id=221) == CAMPAIGN
    assert client.get_campaign_details(campaign_id=221) == CAMPAIGN
    for sent in api.request_history:
        assert sent.url == url_of("actions/GetCampaignDetails?CampaignID=221")
        assert sent.headers["X-API-KEY"] == API_KEY
        assert "Authorization-Token" not in sent.headers
    assert client.calls_made == 3


@pytest.mark.parametrize("api_path", ["", "current", "next"])
def test_the_prefix_of_paths_is_a_setting(api: requests_mock.Mocker, api_path: str) -> None:
    api.get(requests_mock.ANY, json=[])
    settings = OptimoveSettings(http=HttpSettings(BASE), api_key=API_KEY, rate_limit="", api_path=api_path)
    OptimoveClient(settings).call("GetAllActions")
    assert api.request_history[0].path == f"/{api_path}/actions/getallactions".replace("//", "/")


def test_a_write(api: requests_mock.Mocker) -> None:
    api.post(url_of("integrations/AddChannelTemplates"), text="")
    templates: Any = [{"TemplateID": 1, "TemplateName": "Welcome"}]
    client = client_of()
    assert client.call("AddChannelTemplates", {"ChannelID": 3}, body=templates) is None
    client.add_channel_templates(channel_id=3, templates=templates)
    for sent in api.request_history:
        assert sent.url == url_of("integrations/AddChannelTemplates?ChannelID=3")
        assert sent.json() == templates


def test_rows_are_handed_on_untouched(api: requests_mock.Mocker) -> None:
    rows = [{"CustomerID": 7, "templateId": "5", "Extra": {"a": [None]}}]
    api.get(requests_mock.ANY, json=rows)
    assert list(client_of().rows("GetCustomerSendDetailsByCampaign", CampaignID=1)) == rows
    assert client_of().call("GetCustomerSendDetailsByCampaign", CampaignID=1) == rows


@pytest.mark.parametrize(
    "body", ['{"Date":"2018-07-13"}', '{"date":"2018-07-13T00:00:00"}', '{"DATE":"2018-07-13 05:00:00"}']
)
def test_the_data_date(api: requests_mock.Mocker, body: str) -> None:
    api.get(url_of("general/GetLastDataUpdate"), text=body)
    assert client_of().get_last_data_update() == datetime.date(2018, 7, 13)
    assert client_of().call("GetLastDataUpdate") == json.loads(body)


@pytest.mark.parametrize("body", ['{"Date":"13/07/2018"}', '{"Date":null}', '{"Date":5}'])
def test_a_data_date_that_is_none(api: requests_mock.Mocker, body: str) -> None:
    api.get(requests_mock.ANY, text=body)
    with pytest.raises(OptimoveResponseError) as caught:
        client_of().get_last_data_update()
    assert (caught.value.function, caught.value.status) == ("GetLastDataUpdate", 200)


@pytest.mark.parametrize("body", ["", "null", "[]", "{}", '""'])
def test_no_data(api: requests_mock.Mocker, body: str) -> None:
    api.get(requests_mock.ANY, text=body)
    client = client_of()
    assert client.get_campaign_details(campaign_id=1) is None
    assert client.get_all_actions() == []
    assert client.call("GetLastDataUpdate") is None
    with pytest.raises(OptimoveResponseError, match="no data date yet"):
        client.get_last_data_update()
    assert list(client.get_currently_targeted_customers()) == []
    assert list(client.rows("GetAllActions")) == []
    assert client.call("GetCurrentlyTargetedCustomers") == []


def test_one_connection_for_all_calls(serve: LocalServers) -> None:
    server = serve()
    with client_of(server.url) as client:
        for _ in range(3):
            client.call("GetAllActions")
            client.call("GetCurrentlyTargetedCustomers")
            client.call("AddPromotions", body=PROMOTIONS)
    assert (len(server.received), server.connections) == (9, 1)


def test_what_it_shows_of_itself() -> None:
    for login in (False, True):
        client = client_of(login=login, proxies={"https": f"http://somebody:{PASSWORD}@proxy.example"})
        shown = f"{client!r} {client} {client.settings!r}"
        assert API_KEY not in shown
        assert PASSWORD not in shown
        assert BASE in repr(client)


# Bad input makes no call

BAD_CALLS: dict[str, Callable[[OptimoveClient], Any]] = {
    "missing": lambda client: client.call("GetCampaignDetails"),
    "unknown": lambda client: client.call("GetAllActions", Colour="red"),
    "wrong type": lambda client: client.call("GetCampaignDetails", CampaignID="twelve"),
    "bad date": lambda client: client.rows("GetCustomersByAction", RecipientGroupID=1, ActionID=2, Date="soon"),
    "typed": lambda client: client.get_campaign_details(campaign_id=-1),
    "typed, missing": lambda client: client.get_campaign_details(),  # type: ignore[call-arg]
    "typed, paged": lambda client: client.get_processed_campaign_customers(campaign_id=-1),
    "typed, page size": lambda client: client.get_currently_targeted_customers(page_size=0),
    "page size": lambda client: client.rows("GetCurrentlyTargetedCustomers", page_size=200_001),
    "page size where nothing pages": lambda client: client.rows("GetAllActions", page_size=0),
    "page size of a call": lambda client: client.call("GetCurrentlyTargetedCustomers", page_size=10),
    "$top while all rows are read": lambda client: client.rows("GetCurrentlyTargetedCustomers", {"$top": 10}),
    "$skip while all rows are read": lambda client: client.rows("GetCurrentlyTargetedCustomers", {"$skip": 10}),
    "$top too large": lambda client: client.call("GetCurrentlyTargetedCustomers", {"$top": 200_001}),
    "rows of what has none": lambda client: client.rows("GetCampaignDetails", CampaignID=1),
    "rows of a write": lambda client: client.rows("AddPromotions", Promotions=PROMOTIONS),
    "bad row": lambda client: client.call("AddPromotions", body=[*PROMOTIONS, {"PromoCode": ""}]),
    "too many rows": lambda client: client.add_promotions(promotions=PROMOTIONS * 101),
    "no rows": lambda client: client.call("AddPromotions", body=[]),
    "text for rows": lambda client: client.call("AddPromotions", body="promotions.csv"),
    "one-time": lambda client: client.call("GetTargetGroupName", TargetGroupID=-1),
    "11 attributes": lambda client: client.get_all_actions(customer_attributes=list("ABCDEFGHIJK")),
    "given twice": lambda client: client.call("GetCampaignDetails", {"CampaignID": 1}, campaign_id=1),
}


@pytest.mark.parametrize("login", [False, True], ids=["api key", "login"])
@pytest.mark.parametrize("bad_call", BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_input_makes_no_call(
    api: requests_mock.Mocker, bad_call: Callable[[OptimoveClient], Any], login: bool
) -> None:
    api.register_uri(requests_mock.ANY, requests_mock.ANY, json=TOKEN)
    client = client_of(login=login)
    with pytest.raises(OptimoveInputError) as caught:
        bad_call(client)
    assert caught.value.function is not None
    assert (api.called, client.calls_made) == (False, 0)


def test_bad_rows_are_named_by_field_and_number(api: requests_mock.Mocker) -> None:
    with pytest.raises(OptimoveInputError, match="row 2: PromotionName: missing"):
        client_of().call("AddPromotions", body=[*PROMOTIONS, {"PromoCode": "A"}])


@pytest.mark.parametrize("name", ["GetCampainDetails", "", "general/Login"])
def test_an_unknown_function_makes_no_call(api: requests_mock.Mocker, name: str) -> None:
    for attempt in (client_of().call, client_of().rows):
        with pytest.raises(OptimoveUnknownFunctionError):
            attempt(name)
    assert not api.called


@pytest.mark.parametrize("key", ["", "fake\nkey", "f\u00e4ke-key"])
def test_a_key_that_cannot_be_sent(api: requests_mock.Mocker, key: str) -> None:
    settings = OptimoveSettings(http=HttpSettings(BASE), api_key=key, rate_limit="")
    with pytest.raises(OptimoveInputError) as caught:
        OptimoveClient(settings).call("GetAllActions")
    assert not api.called
    assert not key or key not in str(caught.value)


# Pages


class Customers:
    """A paged function with so many customers.

    :param rows: how many there are.
    :param largest: the longest page; None: as long as asked for.
    """

    def __init__(self, rows: int, largest: int | None = None) -> None:
        self.rows = rows
        self.largest = largest

    def __call__(self, request: Any, context: Any) -> list[dict[str, str]]:
        top = int(request.qs["$top"][0]) if "$top" in request.qs else 10_000
        skip = int(request.qs.get("$skip", ["0"])[0])
        last = min(self.rows, skip + min(top, self.largest or top))
        return [{"CustomerID": str(number)} for number in range(skip, last)]


def pages(api: requests_mock.Mocker) -> list[tuple[int | None, int | None]]:
    return [
        tuple(int(sent.qs[name][0]) if name in sent.qs else None for name in ("$top", "$skip"))  # type: ignore[misc]
        for sent in api.request_history
    ]


def expected_customers(rows: int) -> list[Any]:
    return [{"CustomerID": str(number)} for number in range(rows)]


def test_all_pages_are_read(api: requests_mock.Mocker) -> None:
    api.get(url_of("customers/GetCurrentlyTargetedCustomers"), json=Customers(25))
    client = client_of()
    assert list(client.rows("GetCurrentlyTargetedCustomers", page_size=10)) == expected_customers(25)
    assert pages(api) == [(10, None), (10, 10), (10, 20)]
    assert list(client.get_currently_targeted_customers(page_size=10)) == expected_customers(25)
    assert client.call("GetCurrentlyTargetedCustomers") == expected_customers(25)


@pytest.mark.parametrize("largest", [None, 10_000, 15_000])
def test_nothing_is_cut_off_at_10_000_rows(api: requests_mock.Mocker, largest: int | None) -> None:
    api.get(requests_mock.ANY, json=Customers(30_001, largest))
    assert client_of().call("GetCurrentlyTargetedCustomers") == expected_customers(30_001)
    api.get(requests_mock.ANY, json=Customers(10_000, largest))
    assert len(list(client_of().rows("GetCurrentlyTargetedCustomers"))) == 10_000


def test_one_page_can_be_asked_for(api: requests_mock.Mocker) -> None:
    api.get(requests_mock.ANY, json=Customers(25))
    client = client_of()
    assert len(client.call("GetCurrentlyTargetedCustomers", {"$top": 10, "$skip": 20})) == 5
    assert len(client.call("GetCurrentlyTargetedCustomers", {"$top": 10})) == 10
    assert len(client.call("GetCurrentlyTargetedCustomers", {"$skip": 20})) == 5
    assert pages(api) == [(10, 20), (10, None), (None, 20)]


@pytest.mark.parametrize(
    "rows",
    [
        lambda client: client.rows("GetCurrentlyTargetedCustomers", page_size=10),
        lambda client: client.get_currently_targeted_customers(page_size=10),
        lambda client: client.rows("GetAllActions"),
    ],
    ids=["rows", "typed", "unpaged"],
)
def test_pages_are_read_when_they_are_needed(api: requests_mock.Mocker, rows: Any) -> None:
    api.get(url_of("customers/GetCurrentlyTargetedCustomers"), json=Customers(25))
    api.get(url_of("actions/GetAllActions"), json=expected_customers(25))
    iterator = rows(client_of())
    assert not api.called
    for _ in range(10):
        next(iterator)
    assert api.call_count == 1


def test_other_functions_get_no_top(api: requests_mock.Mocker) -> None:
    api.get(requests_mock.ANY, json=[{"ActionID": 1}])
    client = client_of()
    assert list(client.rows("GetAllActions", page_size=10)) == [{"ActionID": 1}]
    client.get_all_actions()
    client.call("GetAllActions")
    assert {sent.query for sent in api.request_history} == {""}


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([expected_customers(10)] * 2, "$skip is ignored"),
        ([expected_customers(11)], "$top"),
    ],
)
def test_a_server_that_ignores_paging(api: requests_mock.Mocker, answers: list[Any], said: str) -> None:
    api.get(requests_mock.ANY, [{"json": answer} for answer in answers])
    with pytest.raises(OptimoveResponseError, match=re.escape(said)) as caught:
        list(client_of().rows("GetCurrentlyTargetedCustomers", page_size=10))
    assert (caught.value.function, caught.value.status) == ("GetCurrentlyTargetedCustomers", 200)


OUTSIDE_CUSTOMERS: dict[str, dict[str, Any]] = {
    "GetMicrosegmentChangers": {},
    "GetCustomersByValueSegment": {"ValueSegmentID": 1, "Date": "2026-11-20"},
    "GetValueSegmentChangers": {},
}


def refuse_top(rows: int, said: str = "Unrecognized input $top", status: int = 400) -> Callable[[Any, Any], Any]:
    def answer(request: Any, context: Any) -> Any:
        if "$top" in request.qs:
            context.status_code = status
            return {"error": "Bad Request", "message": said}
        return Customers(rows, 300_000)(request, context) if rows <= 10_000 else expected_customers(rows)

    return answer


@pytest.mark.parametrize(
    "said",
    [
        *("Unrecognized input $top", "'$TOP' is not a parameter", "Unrecognized input %24top", "&#36;top is unknown"),
        *("Unrecognized parameter top", "bad query: %24Top=50000&x=1"),
    ],
)
@pytest.mark.parametrize("rows", [0, 7, 9_999, 10_001])
@pytest.mark.parametrize("name", OUTSIDE_CUSTOMERS)
def test_functions_outside_customers_may_refuse_to_page(
    api: requests_mock.Mocker, name: str, rows: int, said: str
) -> None:
    api.get(requests_mock.ANY, json=refuse_top(rows, said))
    assert len(list(client_of().rows(name, OUTSIDE_CUSTOMERS[name]))) == rows
    assert pages(api) == [(50_000, None), (None, None)]


@pytest.mark.parametrize("name", OUTSIDE_CUSTOMERS)
def test_exactly_10_000_unpaged_rows_may_be_cut_off(api: requests_mock.Mocker, name: str) -> None:
    api.get(requests_mock.ANY, json=refuse_top(10_000))
    with pytest.raises(OptimoveResponseError, match="10,000"):
        list(client_of().rows(name, OUTSIDE_CUSTOMERS[name]))


@pytest.mark.parametrize(
    ("name", "said", "status"),
    [
        ("GetCurrentlyTargetedCustomers", "Unrecognized input $top", 400),
        ("GetCurrentlyTargetedCustomers", "Unrecognized parameter top", 400),
        ("GetMicrosegmentChangers", "No such attribute", 400),
        ("GetMicrosegmentChangers", "The topic is stopped on the desktop", 400),
        ("GetMicrosegmentChangers", "/model/GetMicrosegmentChangers?$top=50000 not found", 404),
    ],
)
def test_other_refusals_are_errors(api: requests_mock.Mocker, name: str, said: str, status: int) -> None:
    api.get(requests_mock.ANY, json=refuse_top(5, said, status))
    with pytest.raises(OptimoveBadRequestError, match=re.escape(said)):
        list(client_of().rows(name))
    assert api.call_count == 1


@pytest.mark.parametrize("said", ["Unrecognized input $top", "Unrecognized input %24top", "Unrecognized parameter top"])
def test_a_refusal_amid_the_pages_is_an_error(api: requests_mock.Mocker, said: str) -> None:
    refusal = {"status_code": 400, "text": said}
    api.get(requests_mock.ANY, [{"json": expected_customers(10)}, refusal, {"json": expected_customers(3)}])
    with pytest.raises(OptimoveBadRequestError):
        list(client_of().rows("GetMicrosegmentChangers", page_size=10))
    assert api.call_count == 2


# Errors and repetitions

OTHER_WRITES: dict[str, Callable[[OptimoveClient], Any]] = {
    "UpdateCampaignMetrics": lambda client: client.call("UpdateCampaignMetrics", body=METRICS),
    "UpdateCampaignInteractions": lambda client: client.call("UpdateCampaignInteractions", INTERACTIONS),
    "SendTransactionalMail": lambda client: client.call("SendTransactionalMail", MAIL),
}
REPEATABLE: dict[str, Callable[[OptimoveClient], Any]] = {
    "GetAllActions": lambda client: client.call("GetAllActions"),
    "AddPromotions": lambda client: client.call("AddPromotions", body=PROMOTIONS),
    "DeletePromotions": lambda client: client.call("DeletePromotions", body=[{"PromoCode": "WB23"}]),
    "RemoveCustomerPII": lambda client: client.call("RemoveCustomerPII", CustomerIDs=["A"]),
    "RegisterEventListener": lambda client: client.call(
        "RegisterEventListener", EventTypeID=1, ListenerURL="http%3A%2F%2Fexample.com"
    ),
}
ALL_KINDS = {**REPEATABLE, **OTHER_WRITES}
SUCCESS = {"json": {"IsSuccess": True, "SendID": 5, "Error": None}}


def success_of(name: str) -> dict[str, Any]:
    return SUCCESS if name == "SendTransactionalMail" else {"text": ""}


@pytest.mark.parametrize("name", ALL_KINDS)
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, OptimoveBadRequestError),
        (401, OptimoveAuthenticationError),
        (403, OptimovePermissionError),
        (404, OptimoveBadRequestError),
        (405, OptimoveUnknownFunctionError),
        (409, OptimoveBadRequestError),
        (302, OptimoveResponseError),
    ],
)
def test_final_errors(
    api: requests_mock.Mocker, clock: Clock, name: str, status: int, error: type[OptimoveError]
) -> None:
    api.register_uri(requests_mock.ANY, requests_mock.ANY, status_code=status, text="the server's words")
    with pytest.raises(OptimoveError) as caught:
        ALL_KINDS[name](client_of())
    assert type(caught.value) is error
    assert (caught.value.function, caught.value.status) == (name, status)
    assert status == 302 or "the server's words" in caught.value.message
    assert (api.call_count, clock.naps) == (1, [])


@pytest.mark.parametrize("name", REPEATABLE)
@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        ({"status_code": 500, "text": "words"}, OptimoveServerError),
        ({"status_code": 503, "text": "words"}, OptimoveServerError),
        ({"status_code": 429, "text": "words"}, OptimoveRateLimitError),
        ({"exc": requests.ReadTimeout}, OptimoveServerError),
        ({"exc": requests.ConnectionError("words")}, OptimoveServerError),
        ({"text": '[{"broken off'}, OptimoveResponseError),
    ],
    ids=["500", "503", "429", "timeout", "connection", "truncated"],
)
def test_what_is_harmless_is_repeated(
    api: requests_mock.Mocker, clock: Clock, name: str, outcome: dict[str, Any], error: type[OptimoveError]
) -> None:
    api.register_uri(requests_mock.ANY, requests_mock.ANY, [outcome, outcome, success_of(name)])
    REPEATABLE[name](client_of())
    assert api.call_count == 3
    api.register_uri(requests_mock.ANY, requests_mock.ANY, [outcome])
    with pytest.raises(OptimoveError) as caught:
        REPEATABLE[name](client_of(retry_limit=2))
    assert type(caught.value) is error
    assert caught.value.function == name
    assert api.call_count == 3 + 3
    assert len(clock.naps) == 2 + 2


@pytest.mark.parametrize("name", OTHER_WRITES)
@pytest.mark.parametrize(
    "outcome",
    [
        {"status_code": 500, "text": "words"},
        {"status_code": 503, "text": "words", "headers": {"Retry-After": "5"}},
        {"exc": requests.ReadTimeout},
        {"exc": requests.ConnectionError("words")},
        {"text": '{"IsSuccess'},
        {"text": "<html>words</html>"},
    ],
    ids=["500", "503", "timeout", "connection", "truncated", "page"],
)
def test_a_write_in_doubt_is_sent_once(
    api: requests_mock.Mocker, clock: Clock, name: str, outcome: dict[str, Any]
) -> None:
    api.post(requests_mock.ANY, [outcome, success_of(name)])
    with pytest.raises(OptimoveUncertainWriteError) as caught:
        OTHER_WRITES[name](client_of())
    assert caught.value.function == name
    assert (api.call_count, clock.naps) == (1, [])


@pytest.mark.parametrize("name", OTHER_WRITES)
@pytest.mark.parametrize("outcome", [{"status_code": 429}, {"exc": NO_CONNECTION}], ids=["429", "no connection"])
def test_a_write_that_surely_did_not_happen_is_sent_again(
    api: requests_mock.Mocker, clock: Clock, name: str, outcome: dict[str, Any]
) -> None:
    api.post(requests_mock.ANY, [outcome, outcome, success_of(name)])
    OTHER_WRITES[name](client_of())
    assert api.call_count == 3


@pytest.mark.parametrize("broken", ["reset", "silent", "truncated"])
@pytest.mark.parametrize("name", ["AddPromotions", "UpdateCampaignMetrics"])
def test_writes_over_broken_connections(serve: LocalServers, name: str, broken: str, clock: Clock) -> None:
    breaking = {"reset": serve.reset, "silent": serve.silent(5), "truncated": serve.truncated(b"", 10)}[broken]
    server = serve(breaking, serve.answering(body=b""))
    client = client_of(server.url, read_timeout=0.2)
    if name == "AddPromotions":
        ALL_KINDS[name](client)
        assert len(server.received) == 2
        assert server.received[0] == server.received[1]
    else:
        with pytest.raises(OptimoveUncertainWriteError):
            ALL_KINDS[name](client)
        assert len(server.received) == 1


@pytest.mark.parametrize("name", ALL_KINDS)
def test_refused_connections_are_tried_again(
    serve: LocalServers, monkeypatch: pytest.MonkeyPatch, clock: Clock, name: str
) -> None:
    """The server starts while the client waits for its second attempt."""
    url = serve.refusing_url()
    servers: list[LocalServer] = []
    create_server = socket.create_server
    reply = serve.answering(body=json.dumps(success_of(name).get("json")).encode())

    def start(seconds: float) -> None:
        monkeypatch.setattr(socket, "create_server", lambda address: create_server((address[0], urlsplit(url).port)))
        servers.append(serve(reply))

    monkeypatch.setattr(clock, "sleep", start)
    ALL_KINDS[name](client_of(url))
    assert [len(server.received) for server in servers] == [1]


def test_retry_after_is_obeyed(api: requests_mock.Mocker, clock: Clock) -> None:
    refusal = {"status_code": 429, "headers": {"Retry-After": "17"}}
    api.get(requests_mock.ANY, [refusal, {"json": []}])
    client_of().call("GetAllActions")
    assert clock.naps == [17]


def test_a_call_ends_in_its_time(api: requests_mock.Mocker, clock: Clock) -> None:
    api.get(requests_mock.ANY, status_code=429, headers={"Retry-After": "10"})
    with pytest.raises(OptimoveRateLimitError):
        client_of(total_timeout=35, retry_limit=100).call("GetAllActions")
    assert clock.naps == [10, 10, 10]


def test_every_page_has_the_time_of_a_call(api: requests_mock.Mocker, clock: Clock) -> None:
    refusal = {"status_code": 429, "headers": {"Retry-After": "20"}}
    first, second = ({"json": expected_customers(rows)} for rows in (10, 5))
    api.get(requests_mock.ANY, [refusal, first, refusal, second])
    assert len(list(client_of(total_timeout=35).rows("GetCurrentlyTargetedCustomers", page_size=10))) == 15


def test_a_failed_send(api: requests_mock.Mocker, clock: Clock) -> None:
    api.post(requests_mock.ANY, json={"IsSuccess": False, "SendID": None, "Error": "Invalid template"})
    with pytest.raises(OptimoveRejectedRowsError, match="Invalid template"):
        client_of().call("SendTransactionalMail", MAIL)
    assert api.call_count == 1


@pytest.mark.parametrize("status", [202, 206])
def test_a_success_that_is_not_quite_one_is_said(
    api: requests_mock.Mocker, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    body = {"IsSuccess": True, "SendID": 5, "Error": "tags are missing"}
    api.post(requests_mock.ANY, json=body, status_code=status)
    assert client_of().call("SendTransactionalMail", MAIL) == body
    assert f"SendTransactionalMail: accepted with HTTP {status} tags are missing" in caplog.text


def test_rows_do_not_get_into_the_log(api: requests_mock.Mocker, caplog: pytest.LogCaptureFixture) -> None:
    api.get(requests_mock.ANY, json=[{"CustomerID": "vivi@example.com"}], status_code=203)
    assert len(list(client_of().rows("GetCurrentlyTargetedCustomers"))) == 1
    (page,) = client_of().pages("GetCurrentlyTargetedCustomers")
    assert len(page) == 1
    assert "GetCurrentlyTargetedCustomers: accepted with HTTP 203" in caplog.text
    assert "vivi" not in caplog.text


READS: dict[str, Callable[[OptimoveClient], Any]] = {
    "call": lambda client: client.call("GetCurrentlyTargetedCustomers"),
    "rows": lambda client: list(client.rows("GetCurrentlyTargetedCustomers")),
    "pages": lambda client: [page.lines for page in client.pages("GetCurrentlyTargetedCustomers")],
    "typed": lambda client: client.get_action_name(action_id=1),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("body", [b"", b'[{"CustomerID":"vivi@example.com"}]'])
@pytest.mark.parametrize("status", [202, 206])
def test_a_read_that_gets_no_answer_yet_is_tried_again(
    api: requests_mock.Mocker,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    read: Callable[[OptimoveClient], Any],
    body: bytes,
    status: int,
) -> None:
    unanswered = {"content": body, "status_code": status}
    success = {"json": {"ActionName": "Bonus"}} if read is READS["typed"] else {"json": [{"CustomerID": "C1"}]}
    api.get(requests_mock.ANY, [success])
    expected = read(client_of())
    api.get(requests_mock.ANY, [unanswered, unanswered, success])
    assert read(client_of()) == expected
    api.get(requests_mock.ANY, [unanswered])
    with pytest.raises(OptimoveResponseError, match="tried 5 times") as caught:
        read(client_of())
    assert (type(caught.value), caught.value.status) == (OptimoveResponseError, status)
    assert "vivi" not in f"{caplog.text} {caught.value}"


# Login mode


def logins(api: requests_mock.Mocker) -> int:
    return sum(sent.path.endswith("/general/login") for sent in api.request_history)


def tokens(api: requests_mock.Mocker) -> list[str | None]:
    return [
        sent.headers.get("Authorization-Token")
        for sent in api.request_history
        if not sent.path.endswith("/general/login")
    ]


@pytest.fixture
def login_api(api: requests_mock.Mocker) -> requests_mock.Mocker:
    api.post(LOGIN_URL, [{"json": TOKEN}, {"json": NEXT_TOKEN}, {"json": "fake-token-3"}])
    return api


def test_one_login_for_many_calls_and_clients(login_api: requests_mock.Mocker) -> None:
    login_api.get(requests_mock.ANY, json=[])
    for _ in range(2):
        client = client_of(login=True)
        client.call("GetAllActions")
        client.call("GetCurrentlyTargetedCustomers")
    assert logins(login_api) == 1
    assert tokens(login_api) == [TOKEN] * 4
    sent = login_api.request_history[0]
    assert sent.json() == {"UserName": "someusername", "Password": PASSWORD}
    assert "Authorization-Token" not in sent.headers
    assert all("X-API-KEY" not in each.headers for each in login_api.request_history)


REFUSALS: dict[str, dict[str, Any]] = {
    "401": {"status_code": 401, "text": "Unauthorized"},
    "403 reason": {"status_code": 403, "reason": "Authorization-Token Expired"},
    "403 body": {"status_code": 403, "text": '"Authorization-Token EXPIRED"'},
}


@pytest.mark.parametrize("name", ALL_KINDS)
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_token_is_renewed(login_api: requests_mock.Mocker, name: str, refusal: dict[str, Any]) -> None:
    client = client_of(login=True)
    login_api.register_uri(requests_mock.ANY, re.compile(f"/{name}$"), [refusal, success_of(name)])
    ALL_KINDS[name](client)
    assert logins(login_api) == 2
    assert tokens(login_api) == [TOKEN, NEXT_TOKEN]


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_at_most_one_new_login_a_call(login_api: requests_mock.Mocker, refusal: dict[str, Any]) -> None:
    login_api.get(requests_mock.ANY, [refusal])
    with pytest.raises(OptimoveError) as caught:
        client_of(login=True).call("GetAllActions")
    assert type(caught.value) is OptimoveAuthenticationError
    assert (caught.value.function, caught.value.status) == ("GetAllActions", refusal["status_code"])
    assert logins(login_api) == 2
    assert tokens(login_api) == [TOKEN, NEXT_TOKEN]


def test_each_page_may_have_its_new_login(login_api: requests_mock.Mocker) -> None:
    refusal = REFUSALS["401"]
    first, second = ({"json": expected_customers(rows)} for rows in (10, 5))
    login_api.get(requests_mock.ANY, [refusal, first, refusal, second])
    assert len(list(client_of(login=True).rows("GetCurrentlyTargetedCustomers", page_size=10))) == 15
    assert logins(login_api) == 3


def test_a_permission_error_makes_no_login(login_api: requests_mock.Mocker) -> None:
    login_api.get(requests_mock.ANY, status_code=403, text='"IP not allowed"')
    with pytest.raises(OptimovePermissionError, match="IP not allowed"):
        client_of(login=True).call("GetAllActions")
    assert logins(login_api) == 1


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_with_an_api_key_nobody_logs_in(login_api: requests_mock.Mocker, refusal: dict[str, Any]) -> None:
    login_api.get(requests_mock.ANY, [refusal])
    with pytest.raises((OptimoveAuthenticationError, OptimovePermissionError)):
        client_of().call("GetAllActions")
    assert logins(login_api) == 0


@pytest.mark.parametrize("status", [401, 500])
def test_refused_credentials(api: requests_mock.Mocker, clock: Clock, status: int) -> None:
    api.post(LOGIN_URL, status_code=status, text='"Invalid user"')
    with pytest.raises(OptimoveAuthenticationError, match="Invalid user") as caught:
        client_of(login=True).call("GetAllActions")
    assert (caught.value.function, caught.value.status) == ("Login", status)
    assert api.call_count == 1


def test_a_login_that_is_refused_for_now(
    api: requests_mock.Mocker, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(auth, "LONGEST_LOGIN_WAIT", 0.0)
    api.post(LOGIN_URL, status_code=429, text="User Already Logged In")
    with pytest.raises(OptimoveRateLimitError, match="valid session"):
        client_of(login=True).call("GetAllActions")
    assert api.call_count == 1, "it is not repeated like other calls"


@pytest.mark.parametrize("token", ["", "fake\ntoken", "f\u00e4ke-token", " fake-token"])
def test_a_token_that_cannot_be_sent_is_not_kept(api: requests_mock.Mocker, token: str) -> None:
    api.post(LOGIN_URL, [{"json": token}, {"json": TOKEN}])
    api.get(requests_mock.ANY, json=[])
    with pytest.raises(OptimoveResponseError) as caught:
        client_of(login=True).call("GetAllActions")
    assert caught.value.function == "Login"
    assert client_of(login=True).call("GetAllActions") == []
    assert tokens(api) == [TOKEN]


@pytest.mark.parametrize("login", [False, True], ids=["api key", "login"])
def test_a_login_of_the_users_own(login_api: requests_mock.Mocker, clock: Clock, login: bool) -> None:
    client = client_of(login=login)
    assert client.login(user_name="other", password="fake-password-2") == TOKEN
    assert client.call("Login", {"UserName": "other"}, password="fake-password-2") == NEXT_TOKEN
    for sent in login_api.request_history:
        assert sent.json() == {"UserName": "other", "Password": "fake-password-2"}
        assert not {"X-API-KEY", "Authorization-Token"} & set(sent.headers)


@pytest.mark.parametrize("login", [False, True], ids=["api key", "login"])
@pytest.mark.parametrize("status", [401, 500])
def test_a_login_of_the_users_own_that_is_refused(
    api: requests_mock.Mocker, clock: Clock, login: bool, status: int
) -> None:
    api.post(LOGIN_URL, status_code=status, text="no")
    with pytest.raises(OptimoveAuthenticationError):
        client_of(login=login).login(user_name="other", password="fake-password-2")
    assert api.call_count == 1


# The rate limit


class GateOfTest:
    """Notes who passes."""

    made: list[dict[str, Any]]
    passed: list[str]

    def __init__(self, windows: Any, *, key: str, parallel: int | None = None) -> None:
        self.key = key
        self.made.append({"windows": [str(window) for window in windows], "key": key, "parallel": parallel})

    @contextlib.contextmanager
    def slot(self, deadline: float) -> Iterator[None]:
        self.passed.append(self.key.split()[-1])
        yield


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> type[GateOfTest]:
    GateOfTest.made, GateOfTest.passed = [], []
    monkeypatch.setattr(client_module, "RateLimitGate", GateOfTest)
    return GateOfTest


@pytest.mark.parametrize(
    ("rate_limit", "general", "mail", "parallel"),
    [
        ("50/10", ["50/10"], ["10/1"], 10),
        ("50/10,2000/3600", ["50/10", "2000/3600"], ["10/1"], 10),
        ("", [], [], None),
    ],
)
def test_the_mail_has_a_limit_of_its_own(
    api: requests_mock.Mocker,
    gates: type[GateOfTest],
    rate_limit: str,
    general: list[str],
    mail: list[str],
    parallel: int | None,
) -> None:
    api.post(requests_mock.ANY, [SUCCESS])
    api.get(requests_mock.ANY, json=[])
    client = OptimoveClient(OptimoveSettings(http=HttpSettings(BASE), api_key=API_KEY, rate_limit=rate_limit))
    client.call("SendTransactionalMail", MAIL)
    client.call("GetAllActions")
    assert gates.passed == ["mail", "general"]
    assert [(gate["windows"], gate["parallel"]) for gate in gates.made] == [(general, None), (mail, parallel)]
    assert all(API_KEY not in gate["key"] for gate in gates.made)


def test_logins_and_repetitions_count(login_api: requests_mock.Mocker, gates: type[GateOfTest], clock: Clock) -> None:
    login_api.get(requests_mock.ANY, [{"status_code": 503}, {"json": []}])
    client_of(login=True).call("GetAllActions")
    assert gates.passed == ["general"] * 3


# Every error passes the translation


class Translated(OptimoveError):
    """What errors are translated to."""


TRANSLATED: dict[str, tuple[list[dict[str, Any]], Callable[[OptimoveClient], Any]]] = {
    **{f"bad input: {name}": ([], bad_call) for name, bad_call in BAD_CALLS.items()},
    "unknown function": ([], lambda client: client.call("Frobnicate")),
    "unknown function, rows": ([], lambda client: client.rows("Frobnicate")),
    "call": ([{"status_code": 400}], lambda client: client.call("GetAllActions")),
    "typed": ([{"status_code": 401}], lambda client: client.get_all_actions()),
    "paged call": ([{"status_code": 403}], lambda client: client.call("GetCurrentlyTargetedCustomers")),
    "first page": ([{"status_code": 405}], lambda client: next(client.get_currently_targeted_customers())),
    "rows": ([{"status_code": 400}], lambda client: next(client.rows("GetAllActions"))),
    "later page": (
        [{"json": expected_customers(10)}, {"status_code": 400}],
        lambda client: list(client.rows("GetCurrentlyTargetedCustomers", page_size=10)),
    ),
    "paging ignored": (
        [{"json": expected_customers(10)}],
        lambda client: list(client.rows("GetCurrentlyTargetedCustomers", page_size=10)),
    ),
    "server": ([{"status_code": 503}], lambda client: client.call("GetAllActions")),
    "no date": ([{"text": '{"Date":"soon"}'}], lambda client: client.get_last_data_update()),
}


@pytest.mark.parametrize(("answers", "failing"), TRANSLATED.values(), ids=TRANSLATED)
def test_every_error_is_translated(
    api: requests_mock.Mocker, clock: Clock, answers: list[dict[str, Any]], failing: Callable[[OptimoveClient], Any]
) -> None:
    api.get(requests_mock.ANY, answers or [{"json": []}])
    seen: list[RemoteSystemError] = []

    def translate(error: RemoteSystemError) -> RemoteSystemError:
        seen.append(error)
        return Translated(error.message, function=error.function, status=error.status)

    with pytest.raises(Translated) as caught:
        failing(client_of(translate_error=translate))
    assert len(seen) == 1
    assert str(caught.value) == str(seen[0])
    where = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert len(where) > 2, "the traceback still leads to where it happened"


@pytest.mark.parametrize("refusal", [{"status_code": 401}, {"status_code": 429}, {"json": ""}])
def test_errors_of_a_login_are_translated(
    api: requests_mock.Mocker, monkeypatch: pytest.MonkeyPatch, refusal: dict[str, Any]
) -> None:
    monkeypatch.setattr(auth, "LONGEST_LOGIN_WAIT", 0.0)
    api.post(LOGIN_URL, [refusal])
    with pytest.raises(Translated):
        client_of(login=True, translate_error=lambda error: Translated(error.message)).call("GetAllActions")


# Secrets

SECRETS = [API_KEY, PASSWORD, TOKEN, NEXT_TOKEN, "fake-password-2"]
ECHO = " ".join(f"{secret} {secret.replace('-', '%2D')}" for secret in SECRETS) + f" said {SECRETS}"
ECHOES = {
    "text": ECHO.encode(),
    "JSON string": json.dumps(ECHO).encode(),
    "JSON object": json.dumps({"error": "Echo", "message": ECHO}).encode(),
    "nested JSON": json.dumps({"reasons": [{"headers": SECRETS}]}).encode(),
    "HTML": f"<html><title>{ECHO}</title></html>".encode(),
}


def test_a_secret_is_not_cut_in_two(api: requests_mock.Mocker) -> None:
    api.get(requests_mock.ANY, status_code=400, text="x" * (LONGEST_EXPLANATION - 8) + API_KEY)
    with pytest.raises(OptimoveBadRequestError) as caught:
        client_of().call("GetAllActions")
    assert API_KEY[:8] not in str(caught.value)


def everything_said_by(error: BaseException) -> str:
    parts = ["".join(traceback.format_exception(error))]
    seen: set[int] = set()
    pending: list[Any] = [error]
    while pending:
        found = pending.pop()
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        parts += [str(found), repr(found), repr(found.args), repr(found.__dict__)]
        pending += [found.__cause__, found.__context__, *found.args, *found.__dict__.values()]
    return "\n".join(parts)


def assert_no_secret(text: str) -> None:
    for secret in SECRETS:
        assert secret not in text
        assert secret[:9] not in text, "not even a part of it"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "requests", "airflow_provider_optimove"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def everything_logged(log: pytest.LogCaptureFixture) -> str:
    return "\n".join(f"{record.getMessage()} {record.args!r} {record.exc_text}" for record in log.records)


@pytest.mark.parametrize("status", [200, 206, 302, 400, 401, 403, 404, 405, 409, 429, 500, 503])
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("login", [False, True], ids=["api key", "login"])
def test_secrets_that_the_server_repeats(
    serve: LocalServers, log: pytest.LogCaptureFixture, clock: Clock, echo: bytes, status: int, login: bool
) -> None:
    repeating = serve.answering(status, echo, Location=f"https://{API_KEY}:{TOKEN}@example.com/{PASSWORD}/{NEXT_TOKEN}")
    tokens_first = [serve.answering(body=json.dumps(TOKEN).encode())] if login else []
    server = serve(*tokens_first, repeating)
    said = []
    with client_of(server.url, login=login, retry_limit=1) as client:
        # The client knows its own secrets, and others once they were used.
        for known in SECRETS:
            client._redact.add(known)
        for failing in (REPEATABLE["GetAllActions"], OTHER_WRITES["UpdateCampaignMetrics"]):
            with pytest.raises(OptimoveError) as caught:
                failing(client)
            said.append(everything_said_by(caught.value))
    assert "connectionpool" in " ".join(record.pathname for record in log.records), "urllib3 was heard too"
    assert_no_secret("\n".join(said))
    assert_no_secret(everything_logged(log))


def known_secrets(sent: Any) -> list[str]:
    """What a request itself carries, as a server can repeat it."""
    carried = [sent.headers.get(name) for name in ("X-API-KEY", "Authorization-Token")]
    if sent.path.endswith("/general/login"):
        carried.append(sent.json()["Password"])
    return [secret for secret in carried if secret]


def repeat(request: Any, context: Any) -> str:
    return f"refused: {known_secrets(request)}"


OWN_LOGIN = {"user_name": "other", "password": "fake-password-2"}
SITUATIONS: dict[str, tuple[bool, list[dict[str, Any]], list[dict[str, Any]], Callable[[OptimoveClient], Any]]] = {
    "key refused": (False, [], [{"status_code": 401, "text": repeat}], REPEATABLE["GetAllActions"]),
    "login refused": (True, [{"status_code": 401, "text": repeat}], [], REPEATABLE["GetAllActions"]),
    "login fails in passing": (True, [{"status_code": 503, "text": repeat}], [], REPEATABLE["GetAllActions"]),
    "login answers in another form": (True, [{"json": {"token": TOKEN}}], [], REPEATABLE["GetAllActions"]),
    "login answers in bare text": (True, [{"text": TOKEN}], [], REPEATABLE["GetAllActions"]),
    "login breaks off": (True, [{"text": f'"{TOKEN}'}], [], REPEATABLE["GetAllActions"]),
    "token refused twice": (
        True,
        [{"json": TOKEN}, {"json": NEXT_TOKEN}],
        [{"status_code": 401, "text": repeat}],
        REPEATABLE["GetAllActions"],
    ),
    "renewal refused": (
        True,
        [{"json": TOKEN}, {"status_code": 401, "text": repeat}],
        [{"status_code": 401, "text": repeat}],
        REPEATABLE["GetAllActions"],
    ),
    "accepted login, refused call": (
        True,
        [{"json": TOKEN, "status_code": 202}],
        [{"status_code": 400, "text": repeat}],
        REPEATABLE["GetAllActions"],
    ),
    "key in the reason phrase": (False, [], [{"status_code": 503, "reason": API_KEY}], REPEATABLE["GetAllActions"]),
    "token in the reason phrase": (
        True,
        [{"json": TOKEN}, {"status_code": 401}],
        [{"status_code": 401, "reason": TOKEN}],
        REPEATABLE["GetAllActions"],
    ),
    "own login refused": (False, [{"status_code": 401, "text": repeat}], [], lambda client: client.login(**OWN_LOGIN)),
    "own login accepted, then broken": (
        False,
        [{"json": TOKEN, "status_code": 202}, {"status_code": 400, "text": repeat}],
        [],
        lambda client: (client.login(**OWN_LOGIN), client.login(**OWN_LOGIN)),
    ),
    "own login, bad input": (
        False,
        [],
        [],
        lambda client: client.call("Login", UserName="", Password="fake-password-2"),
    ),
}


@pytest.mark.parametrize(("login", "login_answers", "answers", "failing"), SITUATIONS.values(), ids=SITUATIONS)
def test_secrets_in_every_situation(
    api: requests_mock.Mocker,
    log: pytest.LogCaptureFixture,
    clock: Clock,
    login: bool,
    login_answers: list[dict[str, Any]],
    answers: list[dict[str, Any]],
    failing: Callable[[OptimoveClient], Any],
) -> None:
    if login_answers:
        api.post(LOGIN_URL, login_answers)
    if answers:
        api.get(requests_mock.ANY, answers)
    with pytest.raises(OptimoveError) as caught:
        failing(client_of(login=login, retry_limit=1))
    lines_of_this_file = Path(__file__).read_text().splitlines()
    said = everything_said_by(caught.value)
    for line in lines_of_this_file:
        if len(line.strip()) > len("fake-token-1"):
            said = said.replace(line.strip(), "")
    assert_no_secret(said)
    assert_no_secret(everything_logged(log))


def test_the_password_of_a_proxy(serve: LocalServers, log: pytest.LogCaptureFixture, clock: Clock) -> None:
    repeating = serve(serve.answering(407, f"not {PASSWORD}".encode()))
    with_password = repeating.url.replace("http://", f"http://somebody:{PASSWORD}@")
    with pytest.raises(OptimoveBadRequestError, match=r"not \*\*\*"):
        client_of("http://api5.optimove.invalid", proxies={"http": with_password}).call("GetAllActions")
    proxy = serve.refusing_url().replace("http://", f"http://somebody:{PASSWORD}@")
    client = client_of("http://api5.optimove.invalid", proxies={"http": proxy}, retry_limit=1)
    with pytest.raises(OptimoveServerError, match="proxy") as caught:
        client.call("GetAllActions")
    assert_no_secret(everything_said_by(caught.value))
    assert_no_secret(everything_logged(log))
