"""Authentication, limits, faults and life of the sandbox."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_optimove.sandbox import OptimoveSandbox

PROMOTIONS = [{"PromoCode": "A", "PromotionName": "B"}]


# Authentication


def test_key_and_token_are_accepted_at_the_same_time(sandbox: OptimoveSandbox, call: Any, caller_of: Any) -> None:
    with_token = caller_of(sandbox)
    with_token.use_token(with_token.login().json)

    assert call("GetLastDataUpdate").status == 200
    assert with_token("GetLastDataUpdate").status == 200
    assert [(made.with_key, made.with_token) for made in sandbox.calls[1:]] == [(True, False), (False, True)]


@pytest.mark.parametrize(
    "headers", [{}, {"X-API-KEY": "wrong"}, {"X-API-KEY": "wröng"}, {"Authorization-Token": "unknown"}]
)
def test_without_valid_credentials_a_call_is_unauthorized(call: Any, headers: dict[str, str]) -> None:
    answer = call.send("GET", "/current/general/GetLastDataUpdate", headers=headers)

    assert answer.status == 401
    assert answer.text.startswith("Unauthorized")


def test_the_login_is_read_in_any_letter_case(call: Any) -> None:
    body = {"Username": "Sandbox", "PASSWORD": "sandbox"}

    assert isinstance(call.send("POST", "/general/LOGIN", body, {}).json, str)


def test_wrong_login(sandbox: OptimoveSandbox, call: Any, clock: Any) -> None:
    assert call.login(password="wrong").status == 401
    clock.pass_by(1)
    sandbox.sessions.refused_login_status = 500
    assert call.login(user="nobody").status == 500
    assert sandbox.logins == 0


def test_tokens_live_20_minutes_from_their_last_use(sandbox: OptimoveSandbox, call: Any, clock: Any) -> None:
    call.use_token(call.login().json)
    for _ in range(3):
        clock.pass_by(19 * 60)
        assert call("GetLastDataUpdate").status == 200
    clock.pass_by(20 * 60 + 1)
    expired = call("GetLastDataUpdate")
    assert (expired.status, expired.reason, expired.text) == (
        403,
        "Authorization-Token expired",
        "Authorization-Token expired",
    )
    call.use_token(call.login().json)
    sandbox.sessions.token_lifetime = 5.0
    clock.pass_by(6)
    assert call("GetLastDataUpdate").status == 403


def test_tokens_can_be_expired(sandbox: OptimoveSandbox, call: Any) -> None:
    call.use_token(call.login().json)
    sandbox.expire_tokens()

    assert call("GetLastDataUpdate").status == 403


def test_one_login_a_second(call: Any, clock: Any) -> None:
    assert call.login().status == 200
    clock.pass_by(0.9)
    assert call.login().status == 429
    clock.pass_by(0.1)
    assert call.login().status == 200


def test_needless_logins_are_refused_after_three(sandbox: OptimoveSandbox, call: Any, clock: Any) -> None:
    statuses = []
    for _ in range(5):
        statuses.append(call.login().status)
        clock.pass_by(2)
    assert statuses == [200, 200, 200, 200, 429]
    assert call.login().text == "User Already Logged In"
    sandbox.expire_tokens()
    clock.pass_by(2)
    assert call.login().status == 200
    assert sandbox.logins == 5


@pytest.mark.parametrize(("kills", "status"), [(False, 200), (True, 401)])
def test_a_second_login_may_kill_the_first_token(
    sandbox: OptimoveSandbox, call: Any, clock: Any, kills: bool, status: int
) -> None:
    sandbox.sessions.second_login_kills_token = kills
    first = call.login().json
    clock.pass_by(2)
    call.login()
    call.use_token(first)

    assert call("GetLastDataUpdate").status == status


# The rate limit


def test_the_rate_limit_slides(sandbox: OptimoveSandbox, call: Any, clock: Any) -> None:
    sandbox.rate_limit = "3/10,4/60"
    assert [call("GetLastDataUpdate").status for _ in range(4)] == [200, 200, 200, 429]
    refused = call("GetLastDataUpdate")
    assert refused.json == {
        "status": 429,
        "error": "Too Many Requests",
        "message": "The rate limit is exceeded; try again later.",
    }
    assert "Retry-After" not in refused.headers
    clock.pass_by(10)
    sandbox.retry_after = 7
    assert [call("GetLastDataUpdate").status for _ in range(2)] == [200, 429]
    assert call("GetLastDataUpdate").headers["Retry-After"] == "7"
    sandbox.rate_limit = ""
    assert call("GetLastDataUpdate").status == 200


def test_mail_has_its_own_limit(sandbox: OptimoveSandbox, call: Any, clock: Any) -> None:
    mail = {"TemplateID": 127, "Recipients": [{"Email": "ada@example.com"}]}
    sandbox.rate_limit = "1/10"
    assert call("GetLastDataUpdate").status == 200
    assert [call("SendTransactionalMail", mail).status for _ in range(11)] == [200] * 10 + [429]
    assert call("GetLastDataUpdate").status == 429
    clock.pass_by(1)
    assert call("SendTransactionalMail", mail).status == 200


def test_at_most_ten_mails_in_parallel(sandbox: OptimoveSandbox, clock: Any, caller_of: Any) -> None:
    mail = {"TemplateID": 127, "Recipients": [{"Email": "ada@example.com"}]}
    sandbox.rate_limit = "50/10"
    sandbox.fail("SendTransactionalMail", delay=0.3, times=10)
    callers = [caller_of(sandbox) for _ in range(10)]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        slow = [pool.submit(caller, "SendTransactionalMail", mail) for caller in callers]
        while sandbox.faults.pending:
            time.sleep(0.01)
        clock.pass_by(5)
        assert caller_of(sandbox)("SendTransactionalMail", mail).status == 429
        assert {future.result().status for future in slow} == {200}
    assert caller_of(sandbox)("SendTransactionalMail", mail).status == 200


# Faults


def test_a_fault_concerns_its_function_and_so_many_calls(sandbox: OptimoveSandbox, call: Any) -> None:
    sandbox.fail("getlastdataupdate", status=503, times=2, after=1)

    assert call("GetAllActions").status == 200
    assert [call("GetLastDataUpdate").status for _ in range(4)] == [200, 503, 503, 200]
    assert sandbox.faults.pending == 0


def test_a_fault_of_every_function_spares_login(sandbox: OptimoveSandbox, call: Any) -> None:
    sandbox.fail(status=500, times=None)

    assert call("GetAllActions").status == 500
    assert call.login().status == 200
    sandbox.faults.clear()
    assert call("GetAllActions").status == 200


def test_status_reason_body_and_headers(sandbox: OptimoveSandbox, call: Any) -> None:
    sandbox.fail(status=302, headers={"Location": "https://elsewhere.example.com/"})
    sandbox.fail(status=502, reason="Firewall", body="<html>no</html>", content_type="text/html")
    sandbox.fail(body='"Something is wrong"')
    redirect, html, string = (call("GetAllActions") for _ in range(3))

    assert (redirect.status, redirect.headers["Location"]) == (302, "https://elsewhere.example.com/")
    assert (html.status, html.reason, html.text) == (502, "Firewall", "<html>no</html>")
    assert html.headers["Content-Type"] == "text/html"
    assert (string.status, string.json) == (200, "Something is wrong")


@pytest.mark.parametrize("takes_effect", [False, True])
def test_a_status_instead_of_the_answer(sandbox: OptimoveSandbox, call: Any, takes_effect: bool) -> None:
    sandbox.fail("AddPromotions", status=500, takes_effect=takes_effect)

    assert call("AddPromotions", PROMOTIONS).status == 500
    assert bool(sandbox.promotions) is takes_effect


@pytest.mark.parametrize(("when", "kept"), [("before", {}), ("after", {"A": "B"})])
def test_a_dropped_connection(sandbox: OptimoveSandbox, call: Any, when: str, kept: dict[str, str]) -> None:
    sandbox.fail("AddPromotions", drop=when)

    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        call("AddPromotions", PROMOTIONS)
    assert sandbox.promotions == kept
    assert [made.status for made in sandbox.calls_of("addpromotions")] == [None]


def test_a_truncated_body(sandbox: OptimoveSandbox, call: Any) -> None:
    sandbox.fail("GetAllActions", truncate=True)

    with pytest.raises(http.client.IncompleteRead):
        call("GetAllActions")


def test_a_slow_answer(sandbox: OptimoveSandbox, call: Any) -> None:
    sandbox.fail("GetAllActions", delay=0.2)
    began = time.monotonic()

    assert call("GetAllActions").json
    assert time.monotonic() - began >= 0.2


def test_an_expired_token(sandbox: OptimoveSandbox, call: Any) -> None:
    call.use_token(call.login().json)
    sandbox.fail(expired_token=True, after=1)

    answers = [call("GetLastDataUpdate") for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 403, 403]
    assert answers[1].reason == "Authorization-Token expired"


# Life


def test_calls_are_remembered_without_secrets(sandbox: OptimoveSandbox, call: Any) -> None:
    call.headers["User-Agent"] = "test/1"
    call("AddChannelTemplates", [{"TemplateID": 1, "TemplateName": "x"}], ChannelID=3)
    call.send("GET", "/current/general/getnothing")
    made, unknown = sandbox.calls

    assert (made.function, made.verb, made.query, made.rows) == ("AddChannelTemplates", "POST", {"ChannelID": "3"}, 1)
    assert (made.user_agent, made.with_key, made.with_token, made.status) == ("test/1", True, False, 200)
    assert (unknown.function, unknown.status) == ("getnothing", 405)
    assert sandbox.api_key not in repr(sandbox.calls)


def test_one_connection_serves_many_calls(call: Any) -> None:
    call("GetLastDataUpdate")
    first = call.connection.sock
    for _ in range(50):
        call("GetLastDataUpdate")

    assert call.connection.sock is first


def test_many_callers_at_once_lose_nothing(sandbox: OptimoveSandbox, caller_of: Any) -> None:
    def write(number: int) -> int:
        caller = caller_of(sandbox)
        rows = [{"PromoCode": f"P{number}-{n}", "PromotionName": "x"} for n in range(10)]
        return sum(caller("AddPromotions", [row]).status for row in rows)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert set(pool.map(write, range(20))) == {2000}
    assert len(sandbox.promotions) == len(sandbox.calls) == 200


def test_stopping_is_quick_even_with_open_connections_and_slow_calls(caller_of: Callable[..., Any]) -> None:
    sandbox = OptimoveSandbox().start()
    idle, slow = caller_of(sandbox), caller_of(sandbox)
    idle("GetLastDataUpdate")
    sandbox.fail("GetAllActions", delay=30)
    pool = concurrent.futures.ThreadPoolExecutor(1)
    waiting = pool.submit(slow, "GetAllActions")
    while sandbox.faults.pending:
        time.sleep(0.01)
    began = time.monotonic()

    sandbox.stop()

    assert time.monotonic() - began < 15, "it does not wait for the calls under way"
    with pytest.raises(ConnectionError):
        waiting.result(timeout=5)
    pool.shutdown()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", sandbox.port), timeout=1)
    sandbox.stop()


def test_a_port_can_be_taken_again_at_once() -> None:
    with OptimoveSandbox() as sandbox:
        port = sandbox.port
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/current/general/GetLastDataUpdate")
        assert connection.getresponse().read()
    with OptimoveSandbox(port=port) as sandbox:
        assert sandbox.url == f"http://127.0.0.1:{port}"
    connection.close()


def test_a_body_without_length_is_refused(sandbox: OptimoveSandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=5)
    # Headers only: the answer comes before the body could be sent.
    connection.putrequest("POST", "/current/general/login")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()

    assert connection.getresponse().status == 411
    connection.close()


def test_the_connections(sandbox: OptimoveSandbox) -> None:
    assert json.loads(sandbox.connection) == {
        "conn_type": "optimove",
        "host": sandbox.url,
        "password": "sandbox-key",
    }
    assert json.loads(sandbox.login_connection) == {
        "conn_type": "optimove",
        "host": sandbox.url,
        "login": "sandbox",
        "password": "sandbox",
    }


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_the_command_line(ending: signal.Signals) -> None:
    options = ["--port", "0", "--customers", "7", "--api-key", "another-key", "--last-data-update", "2026-11-01"]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "airflow_provider_optimove.sandbox", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if "Ctrl-C" in line:
                break
        (export,) = [line for line in lines if "AIRFLOW_CONN_OPTIMOVE_DEFAULT" in line and "login" not in line]
        connection = json.loads(export.partition("=")[2].strip("'"))
        host, port = connection["host"].removeprefix("http://").split(":")
        reader = http.client.HTTPConnection(host, int(port), timeout=5)
        reader.request("GET", "/current/general/GetLastDataUpdate", headers={"X-API-KEY": connection["password"]})
        assert reader.getresponse().read() == b'{"Date":"2026-11-01"}'
        reader.close()
        process.send_signal(ending)
        assert process.wait(timeout=5) == 0
    assert connection["password"] == "another-key"
    assert any(connection["host"] in line and "API server" in line for line in lines)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port", "99999"], "'99999' is not a port"),
        (["--port", "<taken>"], "choose another with --port"),
        (["--rate-limit", "abc"], "'abc' is no limit; expected calls/seconds"),
        (["--last-data-update", "yesterday"], "'yesterday' is not a date; expected YYYY-MM-DD"),
    ],
)
def test_the_command_line_says_what_is_wrong(sandbox: OptimoveSandbox, options: list[str], said: str) -> None:
    given = [str(sandbox.port) if option == "<taken>" else option for option in options]
    command = [sys.executable, "-m", "airflow_provider_optimove.sandbox", *given]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_importing_it_loads_neither_airflow_nor_requests() -> None:
    script = "import sys, airflow_provider_optimove.sandbox as s; print({'airflow', 'requests'} & set(sys.modules))"

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "set()"


# The fixture for users

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]


def test_the_fixture_is_the_default_connection(optimove_sandbox: OptimoveSandbox) -> None:
    assert os.environ["AIRFLOW_CONN_OPTIMOVE_DEFAULT"] == optimove_sandbox.connection
    socket.create_connection(("127.0.0.1", optimove_sandbox.port), timeout=1).close()
