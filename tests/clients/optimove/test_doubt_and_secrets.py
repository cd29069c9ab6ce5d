"""What must not happen twice, and what must not be said: writes in doubt, shared connections, secrets, remarks."""

from __future__ import annotations

import json
import logging
import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests
import requests_mock
import urllib3

from airflow_provider_optimove.clients.answers import LONGEST_EXPLANATION
from airflow_provider_optimove.clients.http import HttpAnswer, HttpSettings, Redactor
from airflow_provider_optimove.clients.optimove import auth, remarks
from airflow_provider_optimove.clients.optimove.arguments import bind
from airflow_provider_optimove.clients.optimove.batching import plan_batches
from airflow_provider_optimove.clients.optimove.client import OptimoveClient, OptimoveSettings
from airflow_provider_optimove.clients.optimove.functions import Function, catalogue
from airflow_provider_optimove.clients.optimove.protocol import judge
from airflow_provider_optimove.clients.optimove.rows import Objects, RowChecker, row_shape
from airflow_provider_optimove.exceptions import (
    OptimoveBadRequestError,
    OptimoveError,
    OptimoveInputError,
    OptimoveRejectedRowsError,
    OptimoveResponseError,
    OptimoveServerError,
    OptimoveUncertainWriteError,
)

if TYPE_CHECKING:
    import socket

    from tests.clients.conftest import Clock, LocalServer, LocalServers, Reply

BASE = "https://api5.optimove.example"
HOST = "optimove.invalid"
API_KEY = "fake-api-key-1"
PASSWORD = "fake-password-1"
LISTENER_SECRET = "fake-secret/of+listener 1"
LISTENER_URL = "https://hooks.example.com/fake-path-1/events?secret=fake-secret-2"
EMAIL = "vivi@example.com"
MAIL: Any = {"TemplateID": 127, "Recipients": [{"Email": EMAIL}]}
SENT = b'{"IsSuccess":true,"SendID":5,"Error":null}'
DATES = {"StartDate": "2026-11-20", "EndDate": "2026-11-19"}

WRITES_ONCE: dict[str, Callable[[OptimoveClient], Any]] = {
    "SendTransactionalMail": lambda client: client.call("SendTransactionalMail", MAIL),
    "UpdateCampaignMetrics": lambda client: client.update_campaign_metrics(
        metrics=[{"ChannelID": 15, "CampaignID": 42, "TemplateID": 8, "MetricID": 0, "MetricValue": 925}]
    ),
}
WRITES: dict[str, Callable[[OptimoveClient], Any]] = {
    **WRITES_ONCE,
    "AddPromotions": lambda client: client.add_promotions(
        promotions=[{"PromoCode": "WB23", "PromotionName": "Welcome back"}]
    ),
}

pytestmark = pytest.mark.usefixtures("own_state_directory", "without_proxies")


@pytest.fixture
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names no proxy, in either letter case."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def api() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mock:
        yield mock


def client_of(base_url: str = BASE, *, login: bool = False, **http: Any) -> OptimoveClient:
    credentials: dict[str, Any] = {"api_key": API_KEY}
    if login:
        credentials = {"user_name": "someusername", "password": PASSWORD, "session_cache": "memory"}
    settings = OptimoveSettings(
        http=HttpSettings(base_url, **http), rate_limit="", listener_secret=LISTENER_SECRET, **credentials
    )
    return OptimoveClient(settings)


def success_of(name: str) -> bytes:
    return SENT if name == "SendTransactionalMail" else b""


def assert_no_part_of(secret: str, text: str) -> None:
    parts = {secret[start : start + 8] for start in range(len(secret) - 7)}
    assert [part for part in parts if part in text] == []


def levels_and_texts(log: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(r.levelno, r.getMessage()) for r in log.records if r.name.startswith("airflow_provider_optimove")]


# Writes behind a proxy


def hang_up(connection: socket.socket) -> None:
    """The request has arrived; nothing is said."""
    raise ConnectionAbortedError


class Tunnel:
    """A reply to CONNECT: the server behind the proxy, which gives one reply a tunnel, the last of them for ever."""

    def __init__(self, certificate: Path, *replies: Reply) -> None:
        self.received: list[bytes] = []
        self._replies = list(replies)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)

    def __call__(self, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with self._context.wrap_socket(connection, server_side=True) as inside, inside.makefile("rb") as arriving:
            head = b"".join(iter(arriving.readline, b"\r\n"))
            (length,) = [int(line.split(b":")[1]) for line in head.splitlines() if line.startswith(b"Content-Length")]
            self.received.append(head.splitlines()[0] + arriving.read(length))
            (self._replies.pop(0) if len(self._replies) > 1 else self._replies[0])(inside)
            raise ConnectionAbortedError


def shut_down_tls(connection: socket.socket) -> None:
    """The request has arrived; the end is announced as TLS has it."""
    assert isinstance(connection, ssl.SSLSocket)
    connection.unwrap()


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("end", ["closed", "reset", "silent"])
def test_a_write_that_a_proxy_may_have_passed_on_is_in_doubt(
    serve: LocalServers, clock: Clock, name: str, end: str
) -> None:
    lose = {"closed": hang_up, "reset": serve.reset, "silent": serve.silent(2)}[end]
    proxy = serve(lose, serve.answering(body=success_of(name)))
    client = client_of(f"http://{HOST}", proxies={"http": proxy.url}, read_timeout=0.3)
    assert_in_doubt_or_repeated(client, name, proxy.received)


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("end", ["closed", "shut down", "reset", "silent"])
def test_a_write_through_a_tunnel_that_breaks_is_in_doubt(
    serve: LocalServers, certificate: Path, clock: Clock, name: str, end: str
) -> None:
    lose = {"closed": hang_up, "shut down": shut_down_tls, "reset": serve.reset, "silent": serve.silent(2)}[end]
    tunnel = Tunnel(certificate, lose, serve.answering(body=success_of(name)))
    proxy = serve(tunnel)
    client = client_of(
        f"https://{HOST}", proxies={"https": proxy.url}, verify=str(certificate), connect_timeout=5, read_timeout=0.3
    )
    assert_in_doubt_or_repeated(client, name, tunnel.received)
    assert {connect.target for connect in proxy.received} == {f"{HOST}:443"}


def assert_in_doubt_or_repeated(client: OptimoveClient, name: str, arrived: list[Any]) -> None:
    if name in WRITES_ONCE:
        with pytest.raises(OptimoveUncertainWriteError, match="may have taken effect or not"):
            WRITES[name](client)
        assert len(arrived) == 1
    else:
        WRITES[name](client)
        assert len(arrived) == 2
    client.close()


@pytest.mark.parametrize("status", [407, 502, 503])
@pytest.mark.parametrize("name", WRITES)
def test_a_refused_tunnel_surely_brought_nothing(
    serve: LocalServers, certificate: Path, clock: Clock, name: str, status: int
) -> None:
    tunnel = Tunnel(certificate, serve.answering(body=success_of(name)))
    refusing = serve.answering(status, b"")
    proxy = serve(refusing, refusing, tunnel)
    client = client_of(f"https://{HOST}", proxies={"https": proxy.url}, verify=str(certificate))
    WRITES[name](client)
    assert len(tunnel.received) == 1
    assert len(proxy.received) == 3
    assert len(clock.naps) == 2


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", WRITES)
def test_a_proxy_that_is_not_there_surely_brought_nothing(
    serve: LocalServers, clock: Clock, name: str, scheme: str
) -> None:
    client = client_of(f"{scheme}://{HOST}", proxies={scheme: serve.refusing_url()}, retry_limit=2)
    with pytest.raises(OptimoveServerError, match=r"the proxy .*failed"):
        WRITES[name](client)
    assert client.calls_made == 3
    assert len(clock.naps) == 2


# Connections and forks


class NamesTheAction(BaseHTTPRequestHandler):
    """Answers with the number that was asked for, a moment later."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        (number,) = parse_qs(urlsplit(self.path).query)["ActionID"]
        time.sleep(0.002)
        body = json.dumps({"ActionName": number}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def naming_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), NamesTheAction) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask_for(client: OptimoveClient, numbers: range) -> str:
    try:
        answers = [client.call("GetActionName", ActionID=number)["ActionName"] for number in numbers]
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    own = answers == [str(number) for number in numbers]
    return "own answers" if own else f"asked for {numbers}, got {answers}"


def test_forks_get_their_own_answers(naming_server: str) -> None:
    client = client_of(naming_server, read_timeout=5, retry_limit=0)
    assert ask_for(client, range(1)) == "own answers"
    children = []
    for first in (1_000, 2_000):
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            said = "did not finish"
            try:
                said = ask_for(client, range(first, first + 50))
            finally:
                os.write(writes, said.encode()[:4_000])
                os._exit(0)
        os.close(writes)
        children.append((child, reads))
    all_said = [ask_for(client, range(3_000, 3_050))]
    for child, reads in children:
        with open(reads, "rb") as pipe:
            all_said.append(pipe.read().decode())
        os.waitpid(child, 0)
    client.close()
    assert all_said == ["own answers"] * 3


def test_a_fork_leaves_the_connection_of_its_parent_alone(serve: LocalServers) -> None:
    server = serve()
    client = client_of(server.url)
    client.get_all_actions()
    child = os.fork()
    if child == 0:
        try:
            client.get_all_actions()
            client.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    client.get_all_actions()
    assert len(server.received) == 3
    assert server.connections == 2


# Successes that are none


def judged(name: str, value: Any) -> Any:
    return judge(catalogue()[name], HttpAnswer(200, "OK", {}, json.dumps(value).encode()), login_mode=False)


OBJECTS = [function.name for function in catalogue().values() if function.answer in ("object", "date")]
ROWS = [function.name for function in catalogue().values() if function.answer == "rows"]
ERRORS_IN_PLACE = [
    {"status": 500, "error": "Internal Server Error"},
    {"Status": 500, "Error": "Internal Server Error", "Message": "Timeout"},
    {"status": 500, "title": "Internal Server Error", "traceId": "00-1"},
    {"error": "Internal Server Error"},
    {"message": "Internal Server Error"},
]


def error_of(function: Function) -> type[OptimoveError]:
    return OptimoveResponseError if function.repeatable else OptimoveUncertainWriteError


@pytest.mark.parametrize("value", ERRORS_IN_PLACE, ids=lambda value: " ".join(value))
@pytest.mark.parametrize("name", OBJECTS)
def test_an_error_in_the_place_of_an_object(name: str, value: Any) -> None:
    with pytest.raises(OptimoveError, match="Internal Server Error") as caught:
        judged(name, value)
    assert type(caught.value) is error_of(catalogue()[name])
    assert caught.value.status == 200


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_known_by_any_of_its_fields(name: str) -> None:
    function = catalogue()[name]
    fields = ["Date"] if function.answer == "date" else list(function.answer_shape.__annotations__)
    for field in fields:
        if field in ("Status", "Error"):
            continue
        for written in (field, field.lower()):
            value = {written: True, "IsSuccess": True, "Status": "Failed", "Error": "words"}
            if name != "SendTransactionalMail":
                del value["IsSuccess"]
            assert judged(name, value) == value


@pytest.mark.parametrize(
    "value",
    [[{"CustomerID": "1"}, "Error: timeout"], ["Error: timeout"], [{"CustomerID": "1"}, None], [[1]]],
    ids=["amid rows", "only", "null", "array"],
)
@pytest.mark.parametrize("name", ROWS)
def test_an_error_amid_rows(name: str, value: Any) -> None:
    with pytest.raises(OptimoveResponseError, match="expected an array of rows"):
        judged(name, value)


@pytest.mark.parametrize("value", ERRORS_IN_PLACE, ids=lambda value: " ".join(value))
@pytest.mark.parametrize("name", ["GetCampaignDetails", "RemoveCustomerPII", "SendTransactionalMail"])
def test_an_error_in_the_place_of_an_object_is_asked_for_once(
    api: requests_mock.Mocker, clock: Clock, name: str, value: Any
) -> None:
    calls: dict[str, Any] = {
        "GetCampaignDetails": {"CampaignID": 1},
        "RemoveCustomerPII": {"CustomerIDs": ["C1"]},
        "SendTransactionalMail": MAIL,
    }
    api.register_uri(requests_mock.ANY, requests_mock.ANY, json=value)
    with pytest.raises(error_of(catalogue()[name])):
        client_of().call(name, calls[name])
    assert api.call_count == 1


@pytest.mark.parametrize("name", ["IsSuccess", "isSuccess"])
@pytest.mark.parametrize("said", [True, "True", "true", "TRUE", 1, "1"])
def test_every_spelling_of_a_send_that_was_accepted(name: str, said: Any) -> None:
    value = {name: said, "SendID": 5, "Error": None}
    assert judged("SendTransactionalMail", value) == value


@pytest.mark.parametrize("name", ["IsSuccess", "isSuccess"])
@pytest.mark.parametrize("said", [False, "False", "false", "FALSE", 0, "0"])
def test_every_spelling_of_a_send_that_was_refused(name: str, said: Any) -> None:
    with pytest.raises(OptimoveRejectedRowsError, match=r"not sent: Invalid template \(HTTP 200\)"):
        judged("SendTransactionalMail", {name: said, "SendID": None, "Error": "Invalid template"})


@pytest.mark.parametrize(
    "value",
    [
        {"IsSuccess": None, "SendID": None, "Error": None},
        {"IsSuccess": "", "SendID": None, "Error": "words"},
        {"IsSuccess": "perhaps", "SendID": 5},
        {"IsSuccess": 2, "SendID": 5},
        {"SendID": 5, "Error": None},
    ],
    ids=["null", "empty", "word", "number", "missing"],
)
def test_a_send_of_which_nobody_says_whether_it_was_accepted_is_in_doubt(
    api: requests_mock.Mocker, clock: Clock, value: Any
) -> None:
    api.post(requests_mock.ANY, json=value)
    with pytest.raises(OptimoveUncertainWriteError):
        client_of().call("SendTransactionalMail", MAIL)
    assert api.call_count == 1


# Proxies of the environment


PROXY_VARIABLES = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]


@pytest.mark.parametrize("variable", PROXY_VARIABLES)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_proxy_of_the_environment_is_not_used_for_this_machine(
    serve: LocalServers, monkeypatch: pytest.MonkeyPatch, variable: str, host: str
) -> None:
    proxy, server = serve(), serve()
    monkeypatch.setenv(variable, proxy.url)
    url = server.url.replace("127.0.0.1", host)
    requests.get(url, timeout=5)
    assert len(proxy.received) == 1, "the variable is one that counts"
    client_of(url).get_all_actions()
    assert (len(proxy.received), len(server.received)) == (1, 1)


@pytest.mark.parametrize("variable", PROXY_VARIABLES)
def test_a_proxy_of_the_environment_is_used_for_others(
    serve: LocalServers, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    proxy = serve()
    monkeypatch.setenv(variable, proxy.url)
    client_of(f"http://{HOST}").get_all_actions()
    assert [request.target for request in proxy.received] == [f"http://{HOST}/current/actions/GetAllActions"]


def test_a_proxy_of_the_settings_is_used_for_this_machine_too(serve: LocalServers) -> None:
    proxy, server = serve(), serve()
    client_of(server.url, proxies={"http": proxy.url}).get_all_actions()
    assert (len(proxy.received), len(server.received)) == (1, 0)


# Secrets

FORMS: dict[str, Callable[[str], str]] = {
    "text": lambda text: text,
    "JSON string": json.dumps,
    "JSON object": lambda text: json.dumps({"message": text}),
    "HTML": lambda text: f"<html><body>{text}</body></html>",
}
LONGEST_LABEL = 60


def in_lower_case(escaped: str) -> str:
    """The percent escapes of a text, and nothing else, in lower case."""
    return re.sub("%..", lambda escape: escape[0].lower(), escaped)


def secrets_at_the_cut(secret: str) -> Iterator[str]:
    """Texts that are cut off before, within and behind the secret."""
    for before in range(LONGEST_EXPLANATION - len(secret) - LONGEST_LABEL, LONGEST_EXPLANATION + LONGEST_LABEL):
        yield "x" * before + secret + "x" * 100


@pytest.mark.parametrize("status", [200, 203, 400, 401, 403, 500])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_part_of_a_key_is_left_at_the_cut(
    api: requests_mock.Mocker, clock: Clock, form: Callable[[str], str], status: int
) -> None:
    client = client_of(retry_limit=0)
    for text in secrets_at_the_cut(API_KEY):
        api.get(requests_mock.ANY, text=form(text), status_code=status)
        with pytest.raises(OptimoveError) as caught:
            client.call("GetCampaignDetails", CampaignID=1)
        assert_no_part_of(API_KEY, f"{caught.value} {caught.value.args} {caught.value.__dict__}")
        assert "x" * 1_000 in str(caught.value)


@pytest.mark.parametrize(
    "form",
    [
        lambda text: json.dumps(text).replace("+", "\\u002B"),
        lambda text: f"<html><body>{text.replace('+', '&#43;')}</body></html>",
    ],
    ids=["JSON", "HTML"],
)
def test_no_part_of_an_escaped_key_is_left_at_the_cut(api: requests_mock.Mocker, form: Callable[[str], str]) -> None:
    key = "fake+api+key+with+many+signs"
    client = OptimoveClient(OptimoveSettings(HttpSettings(f"http://{HOST}", retry_limit=0), api_key=key, rate_limit=""))
    for text in secrets_at_the_cut(key):
        api.get(requests_mock.ANY, text=form(text), status_code=400)
        with pytest.raises(OptimoveBadRequestError) as caught:
            client.call("GetAllActions")
        assert_no_part_of(key, str(caught.value))


@pytest.mark.parametrize("form", ["JSON object", "HTML"])
def test_no_part_of_a_key_is_left_at_the_cut_in_the_log(
    api: requests_mock.Mocker, caplog: pytest.LogCaptureFixture, form: str
) -> None:
    for text in secrets_at_the_cut(API_KEY):
        extra = {"IsSuccess": True, "SendID": 5, "Error": text}
        api.post(requests_mock.ANY, json=extra, status_code=202)
        client_of().call("SendTransactionalMail", MAIL)
    assert "accepted with HTTP 202" in caplog.text
    assert_no_part_of(API_KEY, caplog.text)


def test_a_date_that_is_a_secret_is_not_shown(api: requests_mock.Mocker) -> None:
    api.get(requests_mock.ANY, json={"Date": f"none for {API_KEY}"})
    with pytest.raises(OptimoveResponseError, match=r"none for \*\*\*") as caught:
        client_of().get_last_data_update()
    assert_no_part_of(API_KEY, str(caught.value))


@pytest.mark.parametrize("safe", ["", "/"])
@pytest.mark.parametrize("case", [str, in_lower_case], ids=["upper", "lower"])
def test_percent_escapes_are_redacted_in_either_letter_case(case: Callable[[str], str], safe: str) -> None:
    secret = "fake/Secret+1 é"
    assert Redactor([secret])(f"at {case(quote(secret, safe=safe))}!") == "at ***!"


@pytest.mark.parametrize(
    "written",
    [
        LISTENER_SECRET,
        quote(LISTENER_SECRET, safe=""),
        in_lower_case(quote(LISTENER_SECRET, safe="")),
    ],
    ids=["plain", "escaped", "lower case"],
)
def test_the_secret_of_the_listener_is_redacted(
    api: requests_mock.Mocker, caplog: pytest.LogCaptureFixture, clock: Clock, written: str
) -> None:
    said = f"no use for https://hooks.example.com/{written}"
    api.get(requests_mock.ANY, [{"text": said, "status_code": 503}, {"text": said, "status_code": 400}])
    with pytest.raises(OptimoveBadRequestError, match=r"no use for https://hooks\.example\.com/\*\*\*") as caught:
        client_of().get_all_actions()
    assert "trying GetAllActions again" in caplog.text
    assert_no_part_of(written, f"{caught.value} {caplog.text}")
    assert LISTENER_SECRET not in repr(client_of().settings)


@pytest.mark.parametrize("name", ["RegisterEventListener", "UnregisterEventListener"])
@pytest.mark.parametrize(
    "repeats",
    [
        lambda url: url,
        lambda url: json.dumps({"message": url}),
        lambda url: quote(url, safe=""),
        lambda url: in_lower_case(quote(url, safe="")),
        lambda url: "x" * (LONGEST_EXPLANATION - 20) + url,
    ],
    ids=["plain", "JSON", "escaped", "lower case", "cut"],
)
@pytest.mark.parametrize("given", [LISTENER_URL, quote(LISTENER_URL, safe="")], ids=["plain", "escaped"])
def test_the_url_of_a_listener_shows_in_no_error(
    api: requests_mock.Mocker,
    caplog: pytest.LogCaptureFixture,
    name: str,
    repeats: Callable[[str], str],
    given: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    api.post(requests_mock.ANY, status_code=400, text=repeats(LISTENER_URL))
    with pytest.raises(OptimoveBadRequestError) as caught:
        client_of().call(name, EventTypeID=1, ListenerURL=given)
    assert api.request_history[0].json()["ListenerURL"] == given
    for part in ("fake-path-1", "fake-secret-2", "hooks"):
        assert part not in f"{caught.value} {caught.value.args} {caplog.text}"


@pytest.mark.parametrize("name", ["RegisterEventListener", "UnregisterEventListener"])
@pytest.mark.parametrize(
    "value", [[LISTENER_URL], {LISTENER_URL: 1}, LISTENER_URL.encode(), f"{LISTENER_URL}\ud800"], ids=type
)
def test_a_url_of_a_listener_that_is_not_valid_is_not_shown(name: str, value: Any) -> None:
    with pytest.raises(OptimoveInputError, match="ListenerURL: ") as caught:
        client_of().call(name, EventTypeID=1, ListenerURL=value)
    for part in ("fake-path-1", "fake-secret-2", "hooks"):
        assert part not in f"{caught.value} {caught.value.problems}"


# The lines of urllib3


@pytest.fixture
def urllib3_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="urllib3")
    return caplog


def urllib3_text(log: pytest.LogCaptureFixture) -> str:
    return "\n".join(f"{r.getMessage()} {r.args!r}" for r in log.records if r.name.startswith("urllib3"))


def user_metrics(client: OptimoveClient) -> None:
    client.get_transactional_user_metrics(email=EMAIL)


@pytest.mark.parametrize("way", ["direct", "proxy"])
def test_urllib3_names_no_query(serve: LocalServers, urllib3_log: pytest.LogCaptureFixture, way: str) -> None:
    server = serve(serve.answering(body=b"null"))
    client = client_of(server.url) if way == "direct" else client_of(f"http://{HOST}", proxies={"http": server.url})
    user_metrics(client)
    assert "Email=vivi" in server.received[0].target
    said = urllib3_text(urllib3_log)
    assert "/current/transactionalmail/GetTransactionalUserMetrics HTTP/1.1" in said
    assert "vivi" not in said
    assert "Email" not in said


def test_urllib3_names_no_query_in_a_tunnel(
    serve: LocalServers, certificate: Path, urllib3_log: pytest.LogCaptureFixture
) -> None:
    tunnel = Tunnel(certificate, serve.answering())
    client = client_of(f"https://{HOST}", proxies={"https": serve(tunnel).url}, verify=str(certificate))
    client.call("AddChannelTemplates", {"ChannelID": 3}, body=[{"TemplateID": 1, "TemplateName": "Welcome"}])
    assert b"ChannelID=3" in tunnel.received[0]
    said = urllib3_text(urllib3_log)
    assert "/current/integrations/AddChannelTemplates HTTP/1.1" in said
    assert "ChannelID" not in said


def test_urllib3_names_no_query_of_an_answer_with_broken_headers(
    serve: LocalServers, urllib3_log: pytest.LogCaptureFixture
) -> None:
    def broken(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nNo-Colon-Here\r\n: nothing\r\n\r\nnull")

    user_metrics(client_of(serve(broken).url))
    said = urllib3_text(urllib3_log)
    assert "Failed to parse headers" in said
    assert "vivi" not in said


def test_urllib3_names_no_secret_of_a_listener(serve: LocalServers, urllib3_log: pytest.LogCaptureFixture) -> None:
    server = serve()
    settings = OptimoveSettings(
        http=HttpSettings(server.url),
        api_key=API_KEY,
        listener_secret="fake-secret-1",
        api_path="fake-secret-1",
        rate_limit="",
    )
    OptimoveClient(settings).get_all_actions()
    assert server.received[0].target == "/fake-secret-1/actions/GetAllActions"
    said = urllib3_text(urllib3_log)
    assert "/***/actions/GetAllActions" in said
    assert "fake-secret-1" not in said


def test_what_urllib3_says_of_other_hosts_is_left_as_it_is(
    serve: LocalServers, urllib3_log: pytest.LogCaptureFixture
) -> None:
    client = client_of(f"http://{HOST}")
    server = serve()
    for name in ("http://elsewhere.invalid", f"http://not-{HOST}"):
        requests.get(f"{name}/path", params={"Email": EMAIL, "of": API_KEY}, proxies={"http": server.url}, timeout=5)
        assert f"GET {name}/path?Email=vivi%40example.com&of={API_KEY} HTTP/1.1" in urllib3_text(urllib3_log)
    assert client.calls_made == 0


# Remarks


EXPLAINED = [function.name for function in catalogue().values() if function.no_data]
READS = [function.name for function in catalogue().values() if function.reads]


@pytest.mark.parametrize("name", READS)
def test_an_empty_answer_is_explained(name: str) -> None:
    function = catalogue()[name]
    empties: list[Any] = [None, []]
    for empty in empties:
        remark = remarks.after(function, {}, empty, repeated=False)
        assert remark is not None
        assert remark.level == logging.INFO
        assert remark.text.startswith("no data: the inputs are valid")
        assert remark.text.endswith(function.no_data or "nothing for them")
    assert remarks.after(function, {"$skip": 10}, [], repeated=False) is None
    assert remarks.after(function, {}, [{}], repeated=False) is None


def test_some_functions_say_why_they_find_nothing() -> None:
    assert len(EXPLAINED) > 10
    assert {"GetCustomersByValueSegment", "GetPromoCodes"} <= set(EXPLAINED)


def test_an_empty_answer_is_explained_in_the_log(api: requests_mock.Mocker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    api.get(requests_mock.ANY, text="")
    assert client_of().get_promo_codes(date="2026-11-20") == []
    reason = catalogue()["GetPromoCodes"].no_data
    ((level, text),) = levels_and_texts(caplog)
    assert level == logging.INFO
    assert text.startswith("GetPromoCodes: no data: ")
    assert text.endswith(f"; {reason}")


@pytest.mark.parametrize(("pages", "lines"), [([2, 2, 0], 0), ([2, 1], 0), ([0], 1)])
def test_later_pages_without_rows_are_the_end(
    api: requests_mock.Mocker, caplog: pytest.LogCaptureFixture, pages: list[int], lines: int
) -> None:
    caplog.set_level(logging.INFO)
    numbers = iter(range(100))
    api.get(requests_mock.ANY, [{"json": [{"CustomerID": str(next(numbers))} for _ in range(size)]} for size in pages])
    assert len(list(client_of().get_currently_targeted_customers(page_size=2))) == sum(pages)
    assert api.call_count == len(pages)
    assert caplog.text.count("no data: ") == lines


def test_an_empty_answer_of_a_write_needs_no_words(api: requests_mock.Mocker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    api.post(requests_mock.ANY, text="")
    WRITES["AddPromotions"](client_of())
    assert client_of().remove_customer_pii(customer_ids=["C1"]) is None
    assert levels_and_texts(caplog) == []


@pytest.mark.parametrize(
    ("more", "lines"), [({}, 1), ({"ChannelID": 505}, 0), ({"ListenerURL": LISTENER_URL}, 0), ({"ChannelID": 0}, 0)]
)
def test_dropping_every_listener_is_said(
    api: requests_mock.Mocker, caplog: pytest.LogCaptureFixture, more: dict[str, Any], lines: int
) -> None:
    api.post(requests_mock.ANY, text="")
    client_of().call("UnregisterEventListener", EventTypeID=11, **more)
    said = levels_and_texts(caplog)
    assert len(said) == lines
    for level, text in said:
        assert level == logging.WARNING
        assert "every listener of event type 11" in text


def test_a_repetition_that_failed_for_nobody_is_no_news(
    api: requests_mock.Mocker, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    api.post(requests_mock.ANY, [{"status_code": 503}, {"json": {"FailedCustomerIDs": []}}])
    assert client_of().remove_customer_pii(customer_ids=["C1"]) == {"FailedCustomerIDs": []}
    assert not warned_of_a_repetition(caplog)


FAILED_IDS = {"json": {"FailedCustomerIDs": ["C1"]}}
LOST = [
    {"exc": requests.ConnectionError("lost")},
    {"exc": requests.ReadTimeout},
    {"status_code": 503},
    {"text": '{"Fa'},
]
NOT_SENT = [
    {"status_code": 429},
    {"exc": requests.ConnectTimeout(urllib3.exceptions.ConnectTimeoutError("late"))},
]


def warned_of_a_repetition(log: pytest.LogCaptureFixture) -> bool:
    return any(
        level == logging.WARNING and text.startswith("RemoveCustomerPII: the call was sent again after a lost answer")
        for level, text in levels_and_texts(log)
    )


@pytest.mark.parametrize(
    ("answers", "warns"),
    [
        *(([lost, FAILED_IDS], True) for lost in LOST),
        *(([lost, lost, FAILED_IDS], True) for lost in LOST),
        ([LOST[0], NOT_SENT[0], FAILED_IDS], True),
        *(([refused, FAILED_IDS], False) for refused in NOT_SENT),
        ([FAILED_IDS], False),
        ([LOST[0], {"text": ""}], False),
    ],
)
def test_ids_that_failed_in_a_repeated_call(
    api: requests_mock.Mocker, caplog: pytest.LogCaptureFixture, clock: Clock, answers: list[Any], warns: bool
) -> None:
    api.post(requests_mock.ANY, answers)
    client_of().remove_customer_pii(customer_ids=["C1", "C2"])
    assert api.call_count == len(answers)
    assert warned_of_a_repetition(caplog) is warns


@pytest.mark.parametrize(
    ("answers", "warns"),
    [
        ([{"status_code": 401}, FAILED_IDS], False),
        ([{"status_code": 401}, LOST[0], FAILED_IDS], True),
        ([LOST[0], {"status_code": 401}, FAILED_IDS], True),
    ],
    ids=["renewal", "lost behind the renewal", "lost before the renewal"],
)
def test_a_new_token_is_no_repetition(
    api: requests_mock.Mocker,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    answers: list[Any],
    warns: bool,
) -> None:
    monkeypatch.setattr(auth, "LOGIN_INTERVAL", 0.0)
    monkeypatch.setattr(auth, "_shelves", {})
    api.post(requests_mock.ANY, answers)
    api.post(f"{BASE}/current/general/Login", [{"json": "fake-token-1"}, {"json": "fake-token-2"}])
    client_of(login=True).remove_customer_pii(customer_ids=["C1", "C2"])
    assert api.call_count == len(answers) + 2
    assert warned_of_a_repetition(caplog) is warns


# The name of a mail


NAMED_MAIL = {**MAIL, "UniqueMessageID": "welcome-42"}


def test_an_account_that_knows_no_name_of_a_mail(
    api: requests_mock.Mocker, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    refusal = {"status_code": 400, "text": "Unknown field 'UniqueMessageID'"}
    api.post(requests_mock.ANY, [refusal, {"content": SENT}])
    assert client_of().call("SendTransactionalMail", NAMED_MAIL) == json.loads(SENT)
    first, second = (request.json() for request in api.request_history)
    assert first == NAMED_MAIL
    assert second == MAIL
    assert levels_and_texts(caplog) == [
        (logging.WARNING, "SendTransactionalMail: this account knows no UniqueMessageID; sent without it")
    ]


@pytest.mark.parametrize(
    ("mail", "refusal"),
    [
        (NAMED_MAIL, {"status_code": 400, "text": "Invalid TemplateID"}),
        (NAMED_MAIL, {"status_code": 404, "text": "UniqueMessageID"}),
        (NAMED_MAIL, {"status_code": 400, "text": "UniqueMessageID was already used"}),
        (NAMED_MAIL, {"status_code": 400, "text": "UniqueMessageID is a duplicate"}),
        (NAMED_MAIL, {"status_code": 400, "text": "UniqueMessageID is too long"}),
        (MAIL, {"status_code": 400, "text": "UniqueMessageID is required"}),
    ],
    ids=["another reason", "another status", "used", "a duplicate", "too long", "no name given"],
)
def test_any_other_refusal_of_a_mail_is_final(
    api: requests_mock.Mocker, mail: dict[str, Any], refusal: dict[str, Any]
) -> None:
    api.post(requests_mock.ANY, [refusal, {"content": SENT}])
    with pytest.raises(OptimoveBadRequestError):
        client_of().call("SendTransactionalMail", mail)
    assert api.call_count == 1


def test_a_mail_that_is_refused_without_its_name_too(api: requests_mock.Mocker) -> None:
    api.post(requests_mock.ANY, status_code=400, text="UniqueMessageID, and the template too")
    with pytest.raises(OptimoveBadRequestError):
        client_of().call("SendTransactionalMail", NAMED_MAIL)
    assert api.call_count == 2


def test_a_mail_in_doubt_without_its_name_is_sent_no_third_time(api: requests_mock.Mocker, clock: Clock) -> None:
    api.post(requests_mock.ANY, [{"status_code": 400, "text": "UniqueMessageID"}, {"exc": requests.ReadTimeout}])
    with pytest.raises(OptimoveUncertainWriteError):
        client_of().call("SendTransactionalMail", NAMED_MAIL)
    assert api.call_count == 2


def test_a_second_mail_of_a_name(api: requests_mock.Mocker) -> None:
    api.post(requests_mock.ANY, status_code=409, text="Conflict")
    with pytest.raises(OptimoveBadRequestError, match=r"Conflict \(a mail of this UniqueMessageID was accepted before"):
        client_of().call("SendTransactionalMail", NAMED_MAIL)
    assert api.call_count == 1


def test_other_conflicts_speak_of_no_mail(api: requests_mock.Mocker) -> None:
    api.post(requests_mock.ANY, status_code=409, text="Conflict")
    with pytest.raises(OptimoveBadRequestError) as caught:
        WRITES["UpdateCampaignMetrics"](client_of())
    assert "mail" not in str(caught.value)


# Arguments


def refusal_of(name: str, parameters: dict[str, Any]) -> str:
    with pytest.raises(OptimoveInputError) as caught:
        bind(catalogue()[name], parameters)
    (problem,) = caught.value.problems
    return problem


EVENT = {"Date": "2026-11-20", "EventID": 1104}


@pytest.mark.parametrize("empty", [[], (), "", "  "])
def test_an_empty_selection_is_refused(empty: Any) -> None:
    said = "an empty list; leave it out for all"
    assert refusal_of("GetCustomerFutureValues", {"LifecycleStageID": empty}) == f"LifecycleStageID: {said}"
    assert (
        refusal_of("GetCustomerActivityEventAttributes", {**EVENT, "EventParamIDs": empty}) == f"EventParamIDs: {said}"
    )


@pytest.mark.parametrize("empty", [[], (), "", "  ", None])
def test_empty_attributes_are_left_out(empty: Any) -> None:
    given = {"CustomerAttributes": empty, "ProductAttributes": empty, "CustomerID": "C1"}
    assert bind(catalogue()["GetCustomerProductRecommendations"], given) == {"CustomerID": "C1"}


@pytest.mark.parametrize("half", [chr(0xD800), chr(0xDFFF), f"a{chr(0xDC80)}b"], ids=ascii)
def test_half_of_a_surrogate_pair_is_refused(half: str) -> None:
    said = "holds half of a surrogate pair, which is no character"
    assert refusal_of("GetActionID", {"ActionName": half}) == f"ActionName: {said}"
    attributes = {"CustomerAttributes": ["Alias", half]}
    assert refusal_of("GetAllActions", attributes) == f"CustomerAttributes: value 2: {said}"
    with pytest.raises(OptimoveInputError) as caught:
        plan_batches(
            catalogue()["AddPromotions"],
            [
                Objects([{"PromoCode": "WB23", "PromotionName": "Welcome back"}]),
                Objects([{"PromoCode": half, "PromotionName": "Welcome back"}]),
            ],
            RowChecker(row_shape(catalogue()["AddPromotions"])),
            100,
        )
    assert caught.value.problems == (f"row 2: PromoCode: {said}",)
    assert refusal_of("RemoveCustomerPII", {"CustomerIDs": ["C1", half]}) == f"CustomerIDs: row 2: {said}"
    tags = [{"Email": EMAIL, "Personalizations": [{"Tag": "NAME", "Value": half}]}]
    refused = refusal_of("SendTransactionalMail", {**MAIL, "Recipients": tags})
    assert refused == f"Recipients: row 1: Personalizations: row 1: Value: {said}"


def test_whole_characters_beyond_the_basic_plane_are_sent() -> None:
    assert bind(catalogue()["GetActionID"], {"ActionName": "\U0001f600"}) == {"ActionName": "\U0001f600"}


@pytest.mark.parametrize("suggested", [{}, {"SuggestedInCampaign": False}, {"SuggestedInCampaign": None}])
def test_dates_that_are_ignored_may_be_in_any_order(suggested: dict[str, Any]) -> None:
    bound = bind(catalogue()["GetCustomerProductRecommendations"], {**DATES, **suggested})
    assert bound.items() >= DATES.items()


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("GetCustomerProductRecommendations", {"SuggestedInCampaign": True}),
        ("GetCustomerProductRecommendations", {"SuggestedInCampaign": "true"}),
        ("GetCustomerChannelInteractions", {"CustomerID": "C1"}),
        ("GetValueSegmentChangers", {}),
    ],
)
def test_dates_that_count_are_in_order(name: str, more: dict[str, Any]) -> None:
    assert refusal_of(name, {**DATES, **more}) == "StartDate: 2026-11-20 is after EndDate 2026-11-19"


# What cannot be sent


def garbage(directory: Path) -> str:
    path = directory / "garbage.pem"
    path.write_text("no certificate")
    return str(path)


UNSENDABLE: dict[str, Callable[[Path, LocalServer], dict[str, Any]]] = {
    "host": lambda directory, server: {"base_url": "https://api5..example.com"},
    "host, plain": lambda directory, server: {"base_url": "http://api5..example.com"},
    "host with a long label": lambda directory, server: {"base_url": f"https://{'a' * 64}.example.com"},
    "host with a bad port": lambda directory, server: {"base_url": "https://api5.example.com:port"},
    "host with half a bracket": lambda directory, server: {"base_url": "https://[api5.example.com"},
    "no CA bundle": lambda directory, server: {
        "base_url": server.url.replace("http://", "https://"),
        "verify": str(directory / "missing.pem"),
    },
    "CA bundle of garbage": lambda directory, server: {
        "base_url": server.url.replace("http://", "https://"),
        "verify": garbage(directory),
    },
    "proxy without host": lambda directory, server: {"base_url": server.url, "proxies": {"http": "http://"}},
    "proxy with a bad port": lambda directory, server: {
        "base_url": server.url,
        "proxies": {"http": "http://somebody:fake-password-2@127.0.0.1:port"},
    },
    "proxy with a bad password": lambda directory, server: {
        "base_url": server.url,
        "proxies": {"http": "http://somebody:fake#password-2@127.0.0.1"},
    },
    "proxy with half a bracket": lambda directory, server: {
        "base_url": server.url,
        "proxies": {"http": "http://somebody:fake-password-2@[127.0.0.1"},
    },
    "proxy of an unknown kind": lambda directory, server: {
        "base_url": server.url,
        "proxies": {"http": "gopher://somebody:fake-password-2@127.0.0.1:9"},
    },
    "proxy with dots": lambda directory, server: {
        "base_url": server.url,
        "proxies": {"http": "http://somebody:fake-password-2@proxy..example.com"},
    },
}


@pytest.mark.parametrize("name", ["SendTransactionalMail", "AddPromotions"])
@pytest.mark.parametrize("unsendable", UNSENDABLE.values(), ids=UNSENDABLE)
def test_what_cannot_be_sent_is_one_clear_error(
    serve: LocalServers,
    tmp_path: Path,
    clock: Clock,
    name: str,
    unsendable: Callable[[Path, LocalServer], dict[str, Any]],
) -> None:
    server = serve()
    client = client_of(**unsendable(tmp_path, server))
    with pytest.raises(OptimoveServerError, match="could not be sent") as caught:
        WRITES[name](client)
    assert type(caught.value) is OptimoveServerError
    assert caught.value.function == name
    assert "object at" not in str(caught.value)
    assert "password-2" not in str(caught.value)
    assert (server.received, clock.naps) == ([], [])
