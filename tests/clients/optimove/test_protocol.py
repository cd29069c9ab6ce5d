"""What is sent, and what every kind of answer means."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from email.utils import format_datetime
from typing import Any

import pytest

from airflow_provider_optimove.clients.answers import LONGEST_EXPLANATION, explanation, retry_after
from airflow_provider_optimove.clients.calls import CredentialsRefused
from airflow_provider_optimove.clients.http import ConnectionFailure, HttpAnswer, TryAgain
from airflow_provider_optimove.clients.optimove.arguments import bind
from airflow_provider_optimove.clients.optimove.functions import catalogue
from airflow_provider_optimove.clients.optimove.protocol import (
    judge,
    judge_page,
    request_of,
)
from airflow_provider_optimove.exceptions import (
    OptimoveAuthenticationError,
    OptimoveBadRequestError,
    OptimoveError,
    OptimovePermissionError,
    OptimoveRateLimitError,
    OptimoveRejectedRowsError,
    OptimoveResponseError,
    OptimoveServerError,
    OptimoveUncertainWriteError,
    OptimoveUnknownFunctionError,
)

READS = ["GetAllActions", "GetActionName", "GetLastDataUpdate"]
HARMLESS_WRITES = ["AddPromotions", "RemoveCustomerPII", "UpdateCustomerPromotionStatus", "RegisterEventListener"]
OTHER_WRITES = ["UpdateCampaignMetrics", "UpdateCampaignInteractions", "SendTransactionalMail"]
REPEATABLE = READS + HARMLESS_WRITES
PAGE = b"""<!DOCTYPE html>
<html><head><style>p {color: red}</style><script>var a = "<p>";</script><title>Request&nbsp;stopped</title></head>
<body><p>Incident 42 &amp; more</p></body></html>"""


def answer(status: int, body: bytes = b"", *, reason: str = "", **headers: str) -> HttpAnswer:
    return HttpAnswer(status, reason, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def sent(name: str, parameters: dict[str, Any] | None = None, body: Any = None, api_path: str = "current") -> Any:
    declared = catalogue()[name]
    return request_of(declared, bind(declared, parameters, body=body), api_path=api_path)


def judged(name: str, outcome: HttpAnswer | ConnectionFailure, *, login_mode: bool = False) -> Any:
    return judge(catalogue()[name], outcome, login_mode=login_mode)


def final_error(name: str, outcome: HttpAnswer | ConnectionFailure, *, login_mode: bool = False) -> OptimoveError:
    with pytest.raises(OptimoveError) as caught:
        judged(name, outcome, login_mode=login_mode)
    assert caught.value.function == name
    return caught.value


def passing_error(name: str, outcome: HttpAnswer | ConnectionFailure, *, login_mode: bool = False) -> TryAgain:
    with pytest.raises(TryAgain) as caught:
        judged(name, outcome, login_mode=login_mode)
    assert isinstance(caught.value.error, OptimoveError)
    assert caught.value.error.function == name
    return caught.value


# What is sent


@pytest.mark.parametrize(
    ("api_path", "path"),
    [
        ("current", "current/actions/GetCampaignDetails"),
        ("", "actions/GetCampaignDetails"),
        ("v1/x", "v1/x/actions/GetCampaignDetails"),
    ],
)
def test_address(api_path: str, path: str) -> None:
    request = sent("GetCampaignDetails", {"CampaignID": 221}, api_path=api_path)
    assert (request.verb, request.path, request.query, request.body) == ("GET", path, (("CampaignID", "221"),), None)


@pytest.mark.parametrize(("value", "written"), [(True, "true"), (False, "false"), ("True", "true"), (0, "false")])
def test_booleans_in_a_query(value: Any, written: str) -> None:
    request = sent("GetCustomerOneTimeActionsByDate", {"Date": "2026-11-20", "IncludeControlGroup": value})
    assert dict(request.query) == {"Date": "2026-11-20", "IncludeControlGroup": written}


def test_everything_of_a_get_is_in_the_query() -> None:
    given = {"Date": "2026-11-20", "ChannelID": 15, "EventID": "opened", "CustomerAttributes": ["Alias", "Country"]}
    request = sent("GetCampaignInteractionCustomers", {**given, "$top": 100, "$skip": 300})
    assert dict(request.query) == {
        "Date": "2026-11-20",
        "ChannelID": "15",
        "EventID": "2",
        "CustomerAttributes": "Alias;Country",
        "$top": "100",
        "$skip": "300",
    }
    assert request.body is None


BODIES: dict[str, tuple[str, dict[str, Any] | None, Any, dict[str, str], Any]] = {
    "array": (
        "AddPromotions",
        None,
        [{"promocode": "A", "PromotionName": "ß"}],
        {},
        [{"PromoCode": "A", "PromotionName": "ß"}],
    ),
    "array with a query": (
        "AddChannelTemplates",
        {"ChannelID": 3},
        [{"TemplateID": "1", "TemplateName": "W"}],
        {"ChannelID": "3"},
        [{"TemplateID": 1, "TemplateName": "W"}],
    ),
    "array by its name": (
        "DeleteChannelApps",
        {"Apps": [{"ChannelID": 3, "AppID": 7}]},
        None,
        {},
        [{"ChannelID": 3, "AppID": "7"}],
    ),
    "object": (
        "RegisterEventListener",
        {"EventTypeID": 1, "ListenerURL": "http%3A%2F%2Fexample.com"},
        None,
        {},
        {"EventTypeID": 1, "ListenerURL": "http%3A%2F%2Fexample.com"},
    ),
    "object as a body": (
        "UnregisterEventListener",
        None,
        {"EventTypeID": 1, "ChannelID": 505},
        {},
        {"EventTypeID": 1, "ChannelID": 505},
    ),
    "object with rows": ("RemoveCustomerPII", {"CustomerIDs": ["A8272", 7]}, None, {}, {"CustomerIDs": ["A8272", "7"]}),
    "booleans": (
        "UpdateCustomerPromotionStatus",
        {
            "CampaignID": 1,
            "TimeStamp": "2026-11-20 09:33:00",
            "PromosUpdated": [{"CustomerID": "C", "Status": "True"}, {"CustomerID": "D", "Status": 0}],
        },
        None,
        {},
        {
            "CampaignID": 1,
            "TimeStamp": "2026-11-20 09:33:00",
            "PromosUpdated": [{"CustomerID": "C", "Status": True}, {"CustomerID": "D", "Status": False}],
        },
    ),
    "nested": (
        "SendTransactionalMail",
        {
            "TemplateID": 1,
            "Recipients": [{"Email": "v@example.com", "Personalizations": [{"Tag": "[%A%]", "Value": "V"}]}],
        },
        None,
        {},
        {
            "TemplateID": 1,
            "Recipients": [{"Email": "v@example.com", "Personalizations": [{"Tag": "[%A%]", "Value": "V"}]}],
        },
    ),
    "attributes of an array": (
        "DeletePromotions",
        {"CustomerAttributes": ["Alias"]},
        [{"PromoCode": "A"}],
        {"CustomerAttributes": "Alias"},
        [{"PromoCode": "A"}],
    ),
    "attributes of an object": (
        "UnregisterEventListener",
        {"EventTypeID": 1, "CustomerAttributes": ["Alias"]},
        None,
        {"CustomerAttributes": "Alias"},
        {"EventTypeID": 1},
    ),
}


@pytest.mark.parametrize(("name", "parameters", "body", "query", "expected"), BODIES.values(), ids=BODIES)
def test_bodies(name: str, parameters: Any, body: Any, query: dict[str, str], expected: Any) -> None:
    request = sent(name, parameters, body)
    assert request.verb == "POST"
    assert dict(request.query) == query
    assert json.loads(request.body) == expected


def test_a_login_is_not_seen_in_its_request() -> None:
    request = sent("Login", {"UserName": "someusername", "Password": "fake-password-1"})
    assert json.loads(request.body) == {"UserName": "someusername", "Password": "fake-password-1"}
    assert "fake-password-1" not in repr(request)


# Errors by status

SAID = "Campaign 42 & its friends <are> \u201cunknown\u201d"
FORMS = {
    "text": SAID.encode(),
    "text with a byte order mark": b"\xef\xbb\xbf" + SAID.encode(),
    "JSON string": json.dumps(SAID).encode(),
    "JSON object": json.dumps({"status": 418, "error": "Too Bad", "message": SAID}).encode(),
    "JSON object in other case": json.dumps({"Message": SAID}).encode(),
    "other JSON object": json.dumps({"reasons": [SAID]}, ensure_ascii=False).encode(),
}
STATUSES: dict[int, type[OptimoveError]] = {
    400: OptimoveBadRequestError,
    401: OptimoveAuthenticationError,
    403: OptimovePermissionError,
    404: OptimoveBadRequestError,
    405: OptimoveUnknownFunctionError,
    409: OptimoveBadRequestError,
    413: OptimoveBadRequestError,
    422: OptimoveBadRequestError,
}
PASSING: dict[int, type[OptimoveError]] = {
    429: OptimoveRateLimitError,
    500: OptimoveServerError,
    502: OptimoveServerError,
    503: OptimoveServerError,
    504: OptimoveServerError,
    599: OptimoveServerError,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", REPEATABLE + OTHER_WRITES)
@pytest.mark.parametrize("status", STATUSES)
def test_final_statuses(status: int, name: str, form: str) -> None:
    error = final_error(name, answer(status, FORMS[form]))
    assert type(error) is STATUSES[status]
    assert error.status == status
    assert SAID in error.message


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", REPEATABLE + OTHER_WRITES)
@pytest.mark.parametrize("status", PASSING)
def test_passing_statuses(status: int, name: str, form: str) -> None:
    outcome = answer(status, FORMS[form])
    error: Exception
    if name in OTHER_WRITES and status != 429:
        error = final_error(name, outcome)
        assert type(error) is OptimoveUncertainWriteError
    else:
        error = passing_error(name, outcome).error
        assert type(error) is PASSING[status]
    assert isinstance(error, OptimoveError)
    assert error.status == status
    assert SAID in error.message


def test_title_and_message_are_both_kept() -> None:
    body = b'{"status":429,"error":"Too Many Requests","message":"50 calls in 10 s"}'
    assert "Too Many Requests: 50 calls in 10 s" in str(passing_error("GetAllActions", answer(429, body)).error)


@pytest.mark.parametrize(
    "page",
    [PAGE, PAGE.lower(), b"\n<HTML><title>Request&nbsp;stopped</title>Incident 42 &amp; more", b"<!-- 17 -->" + PAGE],
)
def test_html_pages_are_put_into_words(page: bytes) -> None:
    error = final_error("GetAllActions", answer(403, page))
    assert "request stopped incident 42 & more" in error.message.lower()
    assert "firewall" in error.message
    assert "color" not in error.message.lower()
    assert "<" not in error.message
    assert "var a" not in error.message.lower()


@pytest.mark.parametrize("body", [b"", b" \n", b"null"])
def test_without_a_body_the_reason_phrase_explains(body: bytes) -> None:
    assert "Method Not Allowed" in final_error("GetAllActions", answer(405, body, reason="Method Not Allowed")).message


def test_long_explanations_are_cut_off() -> None:
    assert len(explanation(b"x" * 100_000).text) <= LONGEST_EXPLANATION + len("...")
    assert len(explanation(b"<html>" + b"x" * 100_000).text) <= LONGEST_EXPLANATION + len("...")


@pytest.mark.parametrize("part", [b"<", b"<script", b"<style>", b"<a ", b"</script", b"<!--"])
def test_a_page_that_is_meant_to_take_long_is_explained(part: bytes) -> None:
    # Looked at again from each of its parts, it would take minutes.
    words = explanation(b"<html>Blocked" + part * (2_000_000 // len(part)))
    assert words.is_html
    assert words.text.startswith("Blocked")


def test_an_explanation_in_an_unknown_encoding_is_kept_as_far_as_it_goes() -> None:
    assert "Caf\ufffd closed" in final_error("GetAllActions", answer(400, b"Caf\xe9 closed")).message


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", ["GetAllActions", *OTHER_WRITES])
def test_redirects_are_errors(name: str, status: int) -> None:
    error = final_error(name, answer(status, Location="https://elsewhere.example/path?key=value"))
    assert type(error) is OptimoveResponseError
    assert "https://elsewhere.example/path" in error.message
    assert "key=value" not in error.message
    assert final_error(name, answer(status)).status == status


# The session of login mode

EXPIRED = {
    "reason": (b"", "Authorization-Token expired"),
    "reason in capitals": (b"", "AUTHORIZATION-TOKEN EXPIRED"),
    "text": (b"Authorization-Token Expired", "Forbidden"),
    "JSON string": (b'"authorization-token EXPIRED"', "Forbidden"),
    "JSON object": (b'{"status":403,"error":"Forbidden","message":"Token Expired"}', "Forbidden"),
}


@pytest.mark.parametrize(("body", "reason"), EXPIRED.values(), ids=EXPIRED)
@pytest.mark.parametrize("name", ["GetAllActions", "AddPromotions", *OTHER_WRITES])
def test_an_expired_token_asks_for_a_new_login(name: str, body: bytes, reason: str) -> None:
    with pytest.raises(CredentialsRefused) as caught:
        judged(name, answer(403, body, reason=reason), login_mode=True)
    assert caught.value.error.function == name
    assert caught.value.error.status == 403


@pytest.mark.parametrize(("body", "reason"), EXPIRED.values(), ids=EXPIRED)
def test_an_api_key_does_not_expire(body: bytes, reason: str) -> None:
    assert type(final_error("GetAllActions", answer(403, body, reason=reason))) is OptimovePermissionError


@pytest.mark.parametrize("body", [b"", b'"IP address not allowed"', b'{"message":"no permission"}', PAGE])
def test_a_403_that_does_not_say_expired_is_a_permission_error(body: bytes) -> None:
    error = final_error("GetAllActions", answer(403, body, reason="Forbidden"), login_mode=True)
    assert type(error) is OptimovePermissionError
    assert "permission" in error.message
    assert "allow list" in error.message


@pytest.mark.parametrize("name", ["GetAllActions", *OTHER_WRITES])
@pytest.mark.parametrize("body", [b"", b'"Unauthorized"', PAGE])
def test_a_401_asks_for_a_new_login(name: str, body: bytes) -> None:
    with pytest.raises(CredentialsRefused) as caught:
        judged(name, answer(401, body), login_mode=True)
    assert type(caught.value.error) is OptimoveAuthenticationError


@pytest.mark.parametrize("status", [401, 500])
@pytest.mark.parametrize("login_mode", [False, True])
def test_refused_credentials(status: int, login_mode: bool) -> None:
    error = final_error("Login", answer(status, b'"Invalid user"'), login_mode=login_mode)
    assert type(error) is OptimoveAuthenticationError
    assert "user name or password" in error.message
    assert "Invalid user" in error.message


@pytest.mark.parametrize("status", [502, 503, 504, 429])
def test_a_login_that_fails_in_passing_is_repeated(status: int) -> None:
    passing_error("Login", answer(status), login_mode=True)


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_login_never_asks_for_a_login(status: int) -> None:
    final_error("Login", answer(status, b"expired", reason="expired"), login_mode=True)


# Successes

NOT_YET_OR_NOT_ALL = [202, 206]
ROWS = [{"ActionID": 1, "ActionName": "Bonus"}]
BOM = b"\xef\xbb\xbf"
RESULTS: dict[str, tuple[str, bytes, Any]] = {
    "rows": ("GetAllActions", json.dumps(ROWS).encode(), ROWS),
    "rows after a byte order mark": ("GetAllActions", BOM + json.dumps(ROWS).encode(), ROWS),
    "rows amid white space": ("GetAllActions", b"\r\n" + json.dumps(ROWS).encode() + b"\n", ROWS),
    "rows with unknown and nested fields": (
        "GetAllActions",
        b'[{"x":[{"y":null}],"ActionID":"1"}]',
        [{"x": [{"y": None}], "ActionID": "1"}],
    ),
    "object": ("GetActionName", b'{"ActionName":"Bonus"}', {"ActionName": "Bonus"}),
    "object that has an error field": (
        "GetCampaignDetails",
        b'{"TargetGroupID":15,"Status":"Failed","Error":"ESP"}',
        {"TargetGroupID": 15, "Status": "Failed", "Error": "ESP"},
    ),
    "date": ("GetLastDataUpdate", b'{"Date":"2018-07-13"}', {"Date": "2018-07-13"}),
    "date in other case": ("GetLastDataUpdate", b'{"date":"2018-07-13"}', {"date": "2018-07-13"}),
    "token": ("Login", b'"W-tZNPVf0e0V_fake"', "W-tZNPVf0e0V_fake"),
    "failed customers": ("RemoveCustomerPII", b'{"FailedCustomerIDs":["A"]}', {"FailedCustomerIDs": ["A"]}),
    "mail": (
        "SendTransactionalMail",
        b'{"IsSuccess":true,"SendID":5,"Error":null}',
        {"IsSuccess": True, "SendID": 5, "Error": None},
    ),
    "mail in other forms": (
        "SendTransactionalMail",
        b'{"isSuccess":"True","SendID":"5"}',
        {"isSuccess": "True", "SendID": "5"},
    ),
    "mail that counts": ("SendTransactionalMail", b'{"IsSuccess":1}', {"IsSuccess": 1}),
}


@pytest.mark.parametrize("status", [200, 202, 203, 206])
@pytest.mark.parametrize(("name", "body", "expected"), RESULTS.values(), ids=RESULTS)
def test_results(name: str, body: bytes, expected: Any, status: int) -> None:
    if catalogue()[name].reads and status in NOT_YET_OR_NOT_ALL:
        passing_error(name, answer(status, body))
    else:
        assert judged(name, answer(status, body)) == expected


@pytest.mark.parametrize("body", [b"", b"[]", b'[{"ActionID":1}]', b"Accepted", b'[{"Acti'])
@pytest.mark.parametrize("name", [*READS, "GetCurrentlyTargetedCustomers"])
@pytest.mark.parametrize("status", NOT_YET_OR_NOT_ALL)
def test_a_read_without_all_of_its_answer_is_tried_again(status: int, name: str, body: bytes) -> None:
    outcome = answer(status, body, Retry_After="7")
    for judge_it in (judge, judge_page):
        with pytest.raises(TryAgain) as caught:
            judge_it(catalogue()[name], outcome, login_mode=False)
        error = caught.value.error
        assert type(error) is OptimoveResponseError
        assert (error.function, error.status, caught.value.after) == (name, status, 7)
        assert "gave no answer, or not all of it" in error.message


@pytest.mark.parametrize("status", [202, 206])
@pytest.mark.parametrize("name", ["AddPromotions", "UpdateCampaignMetrics", "RemoveCustomerPII"])
def test_a_write_need_not_be_done_yet(name: str, status: int) -> None:
    assert judged(name, answer(status)) is None


EMPTY = [b"", b" \n", b"null", b'""', b"[]", b"{}", BOM, BOM + b"[]"]


@pytest.mark.parametrize("body", EMPTY)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("GetAllActions", []),
        ("GetCurrentlyTargetedCustomers", []),
        ("GetLastDataUpdate", None),
        ("GetActionName", None),
        ("GetCampaignDetails", None),
        ("RemoveCustomerPII", None),
        ("AddPromotions", None),
        ("UpdateCampaignMetrics", None),
        ("UpdateCampaignInteractions", None),
    ],
)
def test_no_data_is_no_error(name: str, expected: Any, body: bytes) -> None:
    assert judged(name, answer(200, body)) == expected


@pytest.mark.parametrize("body", EMPTY)
def test_a_login_without_a_token_is_an_error(body: bytes) -> None:
    assert type(final_error("Login", answer(200, body))) is OptimoveResponseError


WRONG: dict[str, tuple[str, bytes, str]] = {
    "text for rows": ("GetAllActions", b'"Too many calls, try later"', "Too many calls, try later"),
    "bare text for rows": ("GetAllActions", b"Too many calls, try later", "Too many calls, try later"),
    "object for rows": ("GetAllActions", b'{"status":429,"error":"Too Many Requests"}', "Too Many Requests"),
    "number for rows": ("GetAllActions", b"5", "5"),
    "false for rows": ("GetAllActions", b"false", "false"),
    "values for rows": ("GetAllActions", b"[1,2]", "an array of something else"),
    "object without an explanation for rows": (
        "GetAllActions",
        b'{"Name":1,"Rows":[]}',
        "answered: an object",
    ),
    "message for rows": ("GetAllActions", b'{"message":"the account is locked"}', "the account is locked"),
    "page for rows": ("GetAllActions", PAGE, "Incident 42"),
    "rows for an object": ("GetActionName", b'[{"ActionName":"Bonus"}]', "Bonus"),
    "text for an object": ("GetActionName", b'"no such action"', "no such action"),
    "page for an object": ("GetActionName", PAGE, "HTML"),
    "text for a date": ("GetLastDataUpdate", b'"2018-07-13"', "2018-07-13"),
    "no date": ("GetLastDataUpdate", b'{"error":"busy"}', "busy"),
    "page for a write": ("AddPromotions", PAGE, "Incident 42"),
    "text for a write": ("AddPromotions", b'"the account is locked"', "the account is locked"),
    "object for a write": ("AddPromotions", b'{"error":"the account is locked"}', "the account is locked"),
    "object for a token": ("Login", b'{"error":"busy"}', "not shown"),
    "page for a token": ("Login", PAGE, "Incident 42"),
}


@pytest.mark.parametrize(("name", "body", "said"), WRONG.values(), ids=WRONG)
def test_a_200_that_is_an_error(name: str, body: bytes, said: str) -> None:
    error = final_error(name, answer(200, body))
    assert type(error) is OptimoveResponseError
    assert error.status == 200
    assert said in error.message


@pytest.mark.parametrize("body", [b"fake-token-1", b'{"token":"fake-token-1"}', b'["fake-token-1"]', b'"fake-token-1'])
def test_a_token_in_an_unknown_form_is_not_shown(body: bytes) -> None:
    with pytest.raises((OptimoveError, TryAgain)) as caught:
        judged("Login", answer(200, body))
    error = caught.value.error if isinstance(caught.value, TryAgain) else caught.value
    assert "fake-token-1" not in f"{caught.value} {error} {error!r} {error.__dict__}"


@pytest.mark.parametrize(
    "body",
    [
        b'{"CustomerID":"vivi@example.com","Rows":["vivi"]}',
        b'[["vivi@example.com"]]',
        b'["vivi@example.com"]',
        BOM + b' [["vivi@example.com",{}]]',
        BOM + b'\r\n{"Rows":[{"CustomerID":"vivi@example.com"}]}\n',
    ],
)
@pytest.mark.parametrize("name", ["GetAllActions", "GetCurrentlyTargetedCustomers", "GetRegisteredEventListeners"])
def test_rows_in_another_form_are_not_shown(name: str, body: bytes) -> None:
    for judge_it in (judge, judge_page):
        with pytest.raises(OptimoveResponseError) as caught:
            judge_it(catalogue()[name], answer(200, body), login_mode=False)
        assert "vivi" not in f"{caught.value!r} {caught.value} {caught.value.__dict__}"


@pytest.mark.parametrize(
    "body",
    [
        b'"https://listener.example/?token=fake-secret-1"',
        b"https://listener.example/?token=fake-secret-1",
        b'{"ListenerURL":"https://listener.example/?token=fake-secret-1"}',
        b'{"message":"https://listener.example/?token=fake-secret-1"}',
        b'[["https://listener.example/?token=fake-secret-1"]]',
        b'[{"EventTypeID":1},"https://listener.example/?token=fake-secret-1"]',
    ],
)
def test_listeners_in_another_form_are_not_shown(body: bytes) -> None:
    error = final_error("GetRegisteredEventListeners", answer(200, body))
    assert type(error) is OptimoveResponseError
    assert "fake-secret-1" not in f"{error} {error!r} {error.__dict__}"


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b'[{"ActionID":1},{"Acti', "truncated"), (b"[{} {}]", "malformed"), (b'[{"a":"\xff"}]', "utf-8")],
)
def test_why_an_answer_cannot_be_read(body: bytes, reason: str) -> None:
    message = str(passing_error("GetAllActions", answer(200, body)).error)
    assert f"the answer broke off after {len(body):,} bytes, or is not JSON (" in message
    assert reason in message.lower()
    assert "Acti" not in message.removeprefix("GetAllActions")


DOUBTFUL = {
    "page": PAGE,
    "text": b'"the account is locked"',
    "bare text": b"the account is locked",
    "array": b"[1]",
    "truncated": b'{"IsSuccess":tr',
    "error object": b'{"status":429,"error":"Too Many Requests"}',
}


@pytest.mark.parametrize("body", DOUBTFUL.values(), ids=DOUBTFUL)
@pytest.mark.parametrize("name", OTHER_WRITES)
def test_a_200_that_leaves_a_write_in_doubt(name: str, body: bytes) -> None:
    error = final_error(name, answer(200, body))
    assert type(error) is OptimoveUncertainWriteError
    assert error.status == 200


@pytest.mark.parametrize("body", EMPTY)
def test_a_mail_without_an_answer_is_in_doubt(body: bytes) -> None:
    assert type(final_error("SendTransactionalMail", answer(200, body))) is OptimoveUncertainWriteError


@pytest.mark.parametrize("value", ["false", '"False"', '"false"', "0"])
@pytest.mark.parametrize("key", ["IsSuccess", "isSuccess", "issuccess"])
def test_a_failed_send(key: str, value: str) -> None:
    body = f'{{"{key}":{value},"SendID":null,"Error":"Invalid template"}}'.encode()
    error = final_error("SendTransactionalMail", answer(200, body))
    assert type(error) is OptimoveRejectedRowsError
    assert "Invalid template" in error.message
    silent = final_error("SendTransactionalMail", answer(200, f'{{"{key}":{value}}}'.encode()))
    assert type(silent) is OptimoveRejectedRowsError


@pytest.mark.parametrize(
    "body", [b'[{"ActionID":1},{"Acti', b'{"ActionName":"Bo', b'"W-tZ', b"[{} {}]", b'[{"a":"\xff"}]']
)
@pytest.mark.parametrize("name", REPEATABLE)
def test_what_broke_off_is_read_again(name: str, body: bytes) -> None:
    assert type(passing_error(name, answer(200, body)).error) is OptimoveResponseError


# Without an answer


def _failures() -> Iterator[ConnectionFailure]:
    for sent_already in (False, True):
        yield ConnectionFailure("Connection reset by peer", sent=sent_already)


@pytest.mark.parametrize("failure", _failures(), ids=lambda failure: f"sent={failure.sent}")
@pytest.mark.parametrize("name", REPEATABLE + OTHER_WRITES)
def test_lost_connections(name: str, failure: ConnectionFailure) -> None:
    error: Exception
    if name in OTHER_WRITES and failure.sent:
        error = final_error(name, failure)
        assert type(error) is OptimoveUncertainWriteError
        assert "not sent again" in str(error)
    else:
        error = passing_error(name, failure).error
        assert type(error) is OptimoveServerError
    assert "Connection reset by peer" in str(error)


@pytest.mark.parametrize("name", ["GetAllActions", *OTHER_WRITES])
def test_what_does_not_pass_is_not_tried_again(name: str) -> None:
    failure = ConnectionFailure("the server's certificate is not accepted", sent=False, passing=False)
    assert type(final_error(name, failure)) is OptimoveServerError


# Retry-After


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("17", 17),
        (" 17 ", 17),
        ("1.5", 1.5),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("Wed, 99999999999 Oct 2020 07:28:00 GMT", None),
    ],
)
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert retry_after(answer(429, Retry_After=value)) == seconds


@pytest.mark.parametrize("zone", ["GMT", "+0000", "-0000"])
@pytest.mark.parametrize(("ahead", "low", "high"), [(60, 57, 61), (-60, 0, 0)])
def test_retry_after_as_a_date(zone: str, ahead: int, low: float, high: float) -> None:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=ahead)
    written = format_datetime(moment, usegmt=True).replace("GMT", zone)
    found = retry_after(answer(503, Retry_After=written))
    assert found is not None
    assert low <= found <= high


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_reaches_the_sender(status: int) -> None:
    assert passing_error("GetAllActions", answer(status, Retry_After="7")).after == 7
    assert passing_error("GetAllActions", answer(status)).after is None


def test_a_204_is_no_data() -> None:
    for name, nothing in (("GetAllActions", []), ("GetCampaignDetails", None)):
        assert judge(catalogue()[name], HttpAnswer(204, "No Content", {}, b""), login_mode=False) == nothing
