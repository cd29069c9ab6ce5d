"""The client over HTTP: pages, what is repeated and what never is, and what nobody may see."""

from __future__ import annotations

import base64
import datetime
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from airflow_provider_optimove.clients.sessionm.client import SessionMClient
from airflow_provider_optimove.exceptions import OptimoveInputError, SessionMError
from airflow_provider_optimove.hooks.task_errors import ending_the_task
from airflow_provider_optimove.sandbox.sessionm import SessionMSandbox

if TYPE_CHECKING:
    from tests.clients.conftest import Clock, LocalServers
    from tests.clients.sessionm.conftest import Connect

KEY = "fake/key+of=tests"
SECRET = "fake secret ü & tests"
TOKEN = "v2--fake/token+1=="
NEW: dict[str, Any] = {
    "name": "Winter",
    "status": "live",
    "starts_at": datetime.datetime(2026, 11, 20),
    "ends_at": datetime.datetime(2026, 12, 24),
}

WRITES: dict[str, Callable[[SessionMClient], Any]] = {
    "create_campaign": lambda client: client.create_campaign({**NEW, "external_id": "winter-26"}),
    "opt_in": lambda client: client.opt_in(1, external_id="C0000002"),
}
READS: dict[str, Callable[[SessionMClient], Any]] = {
    "campaigns_of_customer": lambda client: client.campaigns_of_customer(external_id="C0000002"),
    "progress": lambda client: client.progress(campaign_id=1, external_id="C0000002"),
    "eligible_campaigns": lambda client: list(client.eligible_campaigns(external_id="C0000002")),
    "campaign_of_customer": lambda client: client.campaign_of_customer(campaign_id=1, external_id="C0000002"),
    "active_campaigns": lambda client: client.active_campaigns(),
    "campaign_info": lambda client: client.campaign_info(campaign_id=1),
}
ALL = {**WRITES, **READS}
CAMPAIGN_OF_A_CUSTOMER = '{"campaigns": [{"name": "Winter"}], "customer": "ada@example.com"}'
EXTERNAL_ID = "C0000017"


def failing(call: Callable[[SessionMClient], Any], client: SessionMClient) -> SessionMError:
    with pytest.raises(SessionMError) as caught:
        call(client)
    return caught.value


def of(error: SessionMError) -> tuple[bool, bool, bool]:
    return error.permanent, error.refused, error.may_have_happened


# What comes back


def test_a_created_campaign(sessionm: SessionMSandbox, client: SessionMClient) -> None:
    created = client.create_campaign({**NEW, "campaign_type": "messaging"})
    assert (created["id"], created["starts_at"]) == (46, "2026-11-20T00:00:00Z")
    assert [campaign["external_id"] for campaign in sessionm.created] == [created["external_id"]]
    assert client.campaign_info(permalink=created["external_id"])["campaign_id"] == 46


def test_an_external_id_is_returned_even_if_it_is_not_answered(serve: LocalServers, connect: Connect) -> None:
    server = serve(serve.answering(body=b'{"status":"ok","campaign":{"id":1}}'))
    created = connect(server.url).create_campaign(NEW)
    assert created == {"id": 1, "external_id": json.loads(server.received[0].body)["campaign"]["external_id"]}


def test_a_campaign_without_an_id_is_in_doubt(serve: LocalServers, connect: Connect) -> None:
    server = serve(serve.answering(body=b'{"status":"ok","campaign":{}}'))
    error = failing(WRITES["create_campaign"], connect(server.url))
    assert of(error) == (True, False, True)
    assert "campaign_info(permalink='winter-26') tells whether it was created" in str(error)
    assert len(server.received) == 1


def test_an_opt_in(sessionm: SessionMSandbox, client: SessionMClient) -> None:
    customer = sessionm.customers[2]
    assert client.progress(campaign_id=1, user_id=customer.user_id)["state"] == "qualified"
    assert client.opt_in(1, external_id="C0000002") == client.campaigns_of_customer(user_id=customer.user_id)
    assert client.progress(campaign_id=1, user_id=customer.user_id)["opted_in"] is True
    assert sessionm.opt_ins == [(1, customer.user_id)]


def test_rows_are_left_as_they_came(sessionm: SessionMSandbox, client: SessionMClient) -> None:
    token = str(sessionm.visitors[0].auth_token)
    tile, *_ = client.campaigns_of_customer(auth_token=token, division_ids=["division-north"])["tiles"]
    assert f"auth_token={token}&" in tile["template"]["action"]["tracking_urls"][0]
    assert sessionm.calls[-1].query == [("auth_token", "***"), ("division_ids", "division-north")]


def test_one_campaign_of_a_customer_wrapped_or_bare(sessionm: SessionMSandbox, client: SessionMClient) -> None:
    permalink, customer = sessionm.campaigns[1].permalink, sessionm.customers[2]
    asked = {"sections": ["offers", "progress"], "filters": "all", "creatives": ["promotion"]}
    wrapped = client.campaign_of_customer(campaign_id=1, user_id=customer.user_id, **asked)  # type: ignore[arg-type]
    assert sessionm.calls[-1].query == [
        ("sections[]", "offers"),
        ("sections[]", "progress"),
        ("filters[]", "all"),
        ("creatives[]", "promotion"),
    ]
    assert {"offers", "progress", "creative", "campaign_id"} <= wrapped.keys()
    for ids in ({"permalink": permalink, "user_id": customer.user_id}, {"campaign_id": 1, "external_id": "C0000002"}):
        assert client.campaign_of_customer(**ids, **asked) == wrapped  # type: ignore[arg-type]


def test_a_version_of_the_info(sessionm: SessionMSandbox, client: SessionMClient) -> None:
    assert client.campaign_info(campaign_id=1, api_version=2)["optin_required"] is True
    assert sessionm.calls[-1].query == [("api_version", "2")]


def test_ids_arrive_as_they_are(serve: LocalServers, connect: Connect) -> None:
    server = serve(serve.answering(body=b'{"status":"ok","campaign":{"state":"qualified"}}'))
    for text in ("a@b.example", "a/b?c#d", "../..", "a b", "%2e%2e", "~ü"):
        connect(server.url).progress(permalink=text, external_id=text)
        escaped = quote(text, safe="")
        path = f"/priv/v1/apps/{quote(KEY, safe='')}/external/users/{escaped}/external/campaigns/{escaped}/progress"
        assert server.received[-1].target == path


def test_credentials_are_sent_in_utf_8(serve: LocalServers, connect: Connect) -> None:
    server = serve(serve.answering(body=b'{"status":"ok","campaigns":[]}'))
    connect(server.url).active_campaigns()
    scheme, encoded = server.received[0].headers["Authorization"].split()
    assert (scheme, base64.b64decode(encoded).decode()) == ("Basic", f"{KEY}:{SECRET}")


def test_bad_arguments_send_nothing(sessionm: SessionMSandbox, connect: Connect) -> None:
    client = connect(sessionm.url)
    calls: list[Callable[[], Any]] = [
        lambda: client.progress(campaign_id=1),
        # At once, not when the first campaign is asked for.
        lambda: client.eligible_campaigns(user_id="U", sections=["all"]),
        lambda: client.create_campaign({}),
    ]
    for call in calls:
        with pytest.raises(OptimoveInputError):
            call()
    assert sessionm.calls == []


# Pages


@pytest.mark.parametrize("page_size", [None, 1, 7, 100])
def test_all_pages_are_read(sessionm: SessionMSandbox, client: SessionMClient, page_size: int | None) -> None:
    found = [
        campaign["campaign_id"]
        for campaign in client.eligible_campaigns(external_id="C0000002", filters=["all"], page_size=page_size)
    ]
    assert found == [number for number in range(1, 46) if number % 9 in (1, 2, 3, 4, 5, 7)]
    assert len(sessionm.calls) == -(-45 // (page_size or 20))


def test_pages_are_read_when_they_are_needed(sessionm: SessionMSandbox, client: SessionMClient) -> None:
    campaigns = client.eligible_campaigns(external_id="C0000002")
    assert sessionm.calls == []
    next(campaigns)
    assert [call.query for call in sessionm.calls] == [[("page", "1")]]


def test_numbers_that_come_as_text(sessionm: SessionMSandbox, client: SessionMClient) -> None:
    sessionm.drift = True
    assert len(list(client.eligible_campaigns(external_id="C0000002", filters=["all"]))) == 30


def test_a_server_that_ignores_the_page(sessionm: SessionMSandbox, client: SessionMClient) -> None:
    sessionm.ignore_page = True
    error = failing(READS["eligible_campaigns"], client)
    assert error.message == "page 2 was asked for, and page 1 came"


def page(number: int | None, pages: Any, *campaigns: int) -> bytes:
    told = {} if number is None else {"page": number}
    rows = [{"campaign_id": campaign} for campaign in campaigns]
    return json.dumps({**told, "number_of_pages": pages, "status": "ok", "campaigns": rows}).encode()


def test_pages_without_a_number(serve: LocalServers, connect: Connect) -> None:
    pages = [page(None, 4, 1), page(None, 4), page(None, 4), page(None, 4, 2)]
    server = serve(*(serve.answering(body=body) for body in pages))
    found = connect(server.url).eligible_campaigns(user_id=1)
    assert [campaign["campaign_id"] for campaign in found] == [1, 2]
    same = connect(serve(serve.answering(body=page(None, 4, 1))).url)
    assert "page 2 is the same as the one before" in str(failing(READS["eligible_campaigns"], same))


def test_campaigns_that_are_created_meanwhile_are_read(serve: LocalServers, connect: Connect) -> None:
    server = serve(*(serve.answering(body=page(*told)) for told in ((1, 1, 1), (2, 2, 2))))
    assert len(list(connect(server.url).eligible_campaigns(user_id=1))) == 1
    server = serve(*(serve.answering(body=page(*told)) for told in ((1, 2, 1), (2, 3, 2), (3, 3, 3))))
    assert len(list(connect(server.url).eligible_campaigns(user_id=1))) == 3


def test_pages_without_end(sessionm: SessionMSandbox, client: SessionMClient) -> None:
    sessionm.endless_pages = True
    assert "there is no end of pages" in str(failing(READS["eligible_campaigns"], client))
    assert len(sessionm.calls) < 150


@pytest.mark.parametrize("pages", [None, "many", -1])
def test_a_number_of_pages_that_is_none(serve: LocalServers, connect: Connect, pages: Any) -> None:
    server = serve(serve.answering(body=page(1, pages, 1)))
    error = failing(READS["eligible_campaigns"], connect(server.url))
    assert error.message.startswith("expected a page of campaigns, and SessionM answered: a JSON object of about ")


# What is repeated


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize(
    ("fault", "happened"),
    [({"drop": "after"}, 1), ({"drop": "before"}, 0), ({"status": 503}, 0), ({"status": 500, "takes_effect": True}, 1)],
)
def test_a_write_in_doubt_is_not_repeated(
    sessionm: SessionMSandbox, client: SessionMClient, clock: Clock, name: str, fault: dict[str, Any], happened: int
) -> None:
    sessionm.fail(name, **fault)
    error = failing(WRITES[name], client)
    assert of(error) == (True, False, True)
    assert "the write may have taken effect or not" in error.message
    assert (len(sessionm.calls), len(sessionm.opt_ins) + len(sessionm.created)) == (1, happened)
    assert client.may_have_happened
    if name == "create_campaign":
        assert "campaign_info(permalink='winter-26') tells whether it was created" in error.message


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize(
    "body",
    [
        "<html><body>Blocked</body></html>",
        "",
        "[]",
        '{"campaign',
        '"ok"',
        '{"status": "accepted"}',
    ],
)
def test_a_success_that_does_not_say_so_is_in_doubt(
    sessionm: SessionMSandbox, client: SessionMClient, name: str, body: str
) -> None:
    sessionm.fail(name, status=200, body=body)
    assert of(failing(WRITES[name], client)) == (True, False, True)
    assert len(sessionm.calls) == 1


@pytest.mark.parametrize("name", ALL)
def test_too_many_calls_are_waited_out(
    sessionm: SessionMSandbox, client: SessionMClient, clock: Clock, name: str
) -> None:
    body = json.dumps({"status": "error", "errors": {"code": "rate_limited"}})
    sessionm.fail(name, status=429, body=body, headers={"Retry-After": "7"}, times=2)
    ALL[name](client)
    assert clock.naps == [7, 7]
    sessionm.fail(name, status=429, body=body, times=None)
    error = failing(ALL[name], client)
    assert (error.code, error.status, of(error)) == ("rate_limited", 429, (False, False, False))


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"drop": "after"},
        {"truncate": True},
        {"body": '{"status": "ok", "camp'},
        {"status": 500, "body": '{"status": "error", "errors": {"code": "internal"}}'},
    ],
)
def test_reads_are_repeated(
    sessionm: SessionMSandbox, client: SessionMClient, clock: Clock, name: str, fault: dict[str, Any]
) -> None:
    sessionm.fail(name, times=2, **fault)
    READS[name](client)
    assert len(clock.naps) == 2


@pytest.mark.parametrize("name", ALL)
def test_a_server_that_keeps_failing(sessionm: SessionMSandbox, connect: Connect, clock: Clock, name: str) -> None:
    told = '{"status": "error", "errors": {"code": "internal"}}'
    sessionm.fail(name, status=502, body=told, times=None)
    error = failing(ALL[name], connect(sessionm.url, retry_limit=1))
    assert (error.code, error.status, error.refused) == ("internal", 502, False)
    assert error.permanent is (name in WRITES)
    assert len(sessionm.calls) == (1 if name in WRITES else 2)


def test_nobody_listens(serve: LocalServers, connect: Connect, clock: Clock) -> None:
    for name in ALL:
        error = failing(ALL[name], connect(serve.refusing_url(), retry_limit=1))
        assert (error.status, of(error)) == (None, (False, False, False))
        assert "tried 2 times" in error.message


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("<html><body>Blocked</body></html>", "an HTML page (Blocked)"),
        ("", "nothing"),
        ('{"customers": ["ada@example.com"]}', "a JSON object of about 34 bytes"),
        ('["ada@example.com"]', "a JSON array of about 19 bytes"),
        ('"ada@example.com"', "a JSON value of about 17 bytes"),
        ("not now", "not now"),
    ],
)
def test_a_read_that_is_answered_with_something_else(
    sessionm: SessionMSandbox, client: SessionMClient, name: str, body: str, shown: str
) -> None:
    sessionm.fail(name, status=200, body=body)
    error = failing(READS[name], client)
    assert error.message.endswith(f"SessionM answered: {shown}")
    assert of(error)[0] is False


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (CAMPAIGN_OF_A_CUSTOMER, "a JSON object of about 66 bytes"),
        (f"[{CAMPAIGN_OF_A_CUSTOMER}]", "a JSON array of about 68 bytes"),
        (CAMPAIGN_OF_A_CUSTOMER[:-2], "JSON that breaks off after 64 bytes"),
        ('{"message": "out of order"}', "out of order"),
        ("[out of order]", "[out of order]"),
    ],
)
@pytest.mark.parametrize(
    ("status", "told"),
    [(500, "the server failed"), (404, "no such address, or nothing there"), (429, "too many calls")],
)
def test_data_explains_no_error(
    sessionm: SessionMSandbox, connect: Connect, clock: Clock, status: int, told: str, body: str, shown: str
) -> None:
    sessionm.fail("progress", status=status, body=body, times=None)
    error = failing(READS["progress"], connect(sessionm.url, retry_limit=0))
    assert error.message == f"{told}: {shown}"


@pytest.mark.parametrize("code", ["no_campaign_found", "No_active_campaign_found", "NO_CAMPAIGN_FOUND"])
def test_a_campaign_that_is_not_found_is_named(sessionm: SessionMSandbox, client: SessionMClient, code: str) -> None:
    for operation in ("progress", "campaign_info", "opt_in", "campaigns_of_customer"):
        sessionm.refuse(operation, code)
    calls: dict[str, Callable[[SessionMClient], Any]] = {
        " for permalink winter-26": lambda client: client.progress(permalink="winter-26", external_id=EXTERNAL_ID),
        " for campaign_id 565": lambda client: client.campaign_info(campaign_id=565),
        " for campaign_id 7": lambda client: client.opt_in(7, external_id=EXTERNAL_ID),
        "": lambda client: client.campaigns_of_customer(external_id=EXTERNAL_ID),
    }
    for words, call in calls.items():
        error = failing(call, client)
        assert error.message.startswith(f"SessionM answered {error.code}{words}")
        assert " for " not in error.message.removeprefix(f"SessionM answered {error.code}{words}")
        assert EXTERNAL_ID not in str(error)


def test_a_secret_in_place_of_a_permalink_is_not_named(sessionm: SessionMSandbox, client: SessionMClient) -> None:
    sessionm.refuse("campaign_info", "no_campaign_found")
    error = failing(lambda client: client.campaign_info(permalink=f"x{SECRET}"), client)
    assert "for permalink x***" in str(error)


def test_no_campaign_is_named_where_the_customer_is_unknown(sessionm: SessionMSandbox, client: SessionMClient) -> None:
    error = failing(lambda client: client.progress(permalink="winter-26", external_id="nobody"), client)
    assert ((error.code or "").lower(), "winter-26" in str(error)) == ("user_not_found", False)


@pytest.mark.parametrize("status", [400, 403, 404, 302])
@pytest.mark.parametrize("name", ALL)
def test_other_statuses(sessionm: SessionMSandbox, client: SessionMClient, name: str, status: int) -> None:
    sessionm.fail(name, status=status, body="no such thing", headers={"Location": f"http://x.example/{SECRET}?a"})
    error = failing(ALL[name], client)
    assert (error.status, error.code) == (status, None)
    assert SECRET not in str(error)
    assert len(sessionm.calls) == 1


@pytest.mark.parametrize("status", [303, 307, 408, 425])
@pytest.mark.parametrize("name", ALL)
def test_statuses_that_are_no_refusal(
    sessionm: SessionMSandbox, connect: Connect, clock: Clock, name: str, status: int
) -> None:
    sessionm.fail(name, status=status, headers={"Location": "/elsewhere"}, times=None)
    error = failing(ALL[name], connect(sessionm.url, retry_limit=1))
    in_doubt = name in WRITES and status != 307
    assert of(error) == (in_doubt, False, in_doubt)
    assert len(sessionm.calls) == (1 if name in WRITES or status < 400 else 2)


# What nobody may see


def test_no_secret_is_written_down(
    sessionm: SessionMSandbox, connect: Connect, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    caplog.set_level(logging.DEBUG)
    in_header = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
    everything = f"{KEY} {quote(KEY, safe='')} {SECRET} {quote(SECRET)} {in_header} {TOKEN} {quote(TOKEN, safe='')}"
    client = connect(sessionm.url, retry_limit=1)
    texts = [repr(client), repr(client.settings)]
    other = "https://x.example/seen?auth_token=v2--of-somebody-else&a=b"
    for status, form in (
        (503, json.dumps({"message": f"{everything} {other}"})),
        (500, json.dumps({"status": "error", "errors": {"code": "opt_in_error", "message": f"{everything} {other}"}})),
        (200, f"<html><body>{everything} {other}</body></html>"),
        (200, json.dumps({"campaigns": everything, "status": other})),
    ):
        sessionm.fail("progress", status=status, body=form, times=2)
        with pytest.raises(SessionMError) as caught:
            client.progress(campaign_id=1, auth_token=TOKEN)
        seen: BaseException | None = caught.value
        while seen is not None:
            texts.append(f"{seen} {seen!r} {seen.args} {vars(seen)}")
            seen = seen.__context__
        sessionm.faults.clear()
    with pytest.raises(SessionMError):
        client.progress(campaign_id=1, auth_token=TOKEN)
    texts += [record.getMessage() for record in caplog.records]
    assert any("urllib3" in record.name for record in caplog.records)
    assert any("progress" in text and "***" in text for text in texts)
    for secret in (KEY, quote(KEY, safe=""), SECRET, quote(SECRET), in_header, TOKEN, quote(TOKEN, safe="")):
        assert not [text for text in texts if secret in text]
    assert not [text for text in texts if "of-somebody-else" in text]


def test_no_customer_is_in_the_log(
    sessionm: SessionMSandbox, client: SessionMClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(SessionMError, match="User_not_found"):
        client.progress(campaign_id=1, external_id="ada@example.com")
    assert [call.function for call in sessionm.calls] == ["progress"]
    path = "/priv/v1/apps/{api_key}/external/users/{external_id}/campaigns/{campaign_id}/progress"
    assert [record.name for record in caplog.records if path in record.getMessage()] == [
        "urllib3.connectionpool",
        "airflow_provider_optimove.clients.http",
    ]
    assert "ada" not in caplog.text


def test_a_token_is_a_secret_as_long_as_its_call(sessionm: SessionMSandbox, client: SessionMClient) -> None:
    token = str(sessionm.visitors[0].auth_token)
    sessionm.fail("progress", status=404, body=f"no campaign for {token}")
    error = failing(lambda client: client.progress(campaign_id=1, auth_token=token), client)
    assert "no campaign for ***" in str(error)
    client.progress(campaign_id=1, auth_token=token)
    # Thousands of them would make each call slower than the one before.
    assert client.redact(f"{token} {KEY}") == f"{token} ***"


def test_errors_end_a_task_where_a_retry_cannot_help(sessionm: SessionMSandbox, client: SessionMClient) -> None:
    sessionm.refuse("opt_in", "opt_in_ended", customer="C0000002")
    sessionm.refuse("opt_in", "opt_in_error")
    error = ending_the_task(failing(WRITES["opt_in"], client))
    assert type(error) is not SessionMError
    assert isinstance(error, SessionMError)
    assert error.code == "opt_in_ended"
    passing = failing(lambda client: client.opt_in(1, external_id="C0000003"), client)
    assert ending_the_task(passing) is passing
    assert of(passing) == (False, True, False)
