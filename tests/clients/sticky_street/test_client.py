"""The client over HTTP: what is asked for, what comes back, what is repeated, and what nobody may see."""

from __future__ import annotations

import datetime
import html
import itertools
import json
import logging
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pendulum
import pytest

from airflow_provider_optimove.clients.http import HttpSettings
from airflow_provider_optimove.clients.sticky_street import client as module
from airflow_provider_optimove.clients.sticky_street import report as reports
from airflow_provider_optimove.clients.sticky_street.client import FIELDS, StickyStreetClient, StickyStreetSettings
from airflow_provider_optimove.clients.sticky_street.report import ReportReader
from airflow_provider_optimove.exceptions import OptimoveInputError, StickyStreetError
from airflow_provider_optimove.hooks.task_errors import StickyStreetError as EndingStickyStreetError
from airflow_provider_optimove.hooks.task_errors import ending_the_task
from airflow_provider_optimove.sandbox import StickyStreetSandbox
from airflow_provider_optimove.sandbox.serving import Received, Reply
from airflow_provider_optimove.sandbox.sticky_street import CAMPAIGNS, transaction_day
from tests.clients.sticky_street.test_report import HOSTILE, forever

if TYPE_CHECKING:
    from tests.clients.conftest import Clock, LocalServers

ROOT = Path(__file__).parents[3]
PASSWORD = "fake/pass word+&<tests>ü"
KEY = "fake-access/key+for=tests"
PERHAPS_A_KEY = " (is it an access key? then key_in_header must be on)"
BLANK = " (the password begins or ends with a blank or a line break)"
MEGABYTE = 1 << 20

Connect = Callable[..., StickyStreetClient]


def settings_for(url: str, **changed: Any) -> StickyStreetSettings:
    given = {"account_id": "greatwidgets", "user_id": "john1970", "user_password": PASSWORD, **changed}
    return StickyStreetSettings(http=HttpSettings(url, retry_limit=2), **given)


@pytest.fixture
def sandbox() -> Iterator[StickyStreetSandbox]:
    with StickyStreetSandbox(
        customers=60, user_id="john1970", user_password=PASSWORD, access_key=KEY, account_id="greatwidgets"
    ) as running:
        yield running


@pytest.fixture
def connect() -> Iterator[Connect]:
    made: list[StickyStreetClient] = []

    def client(url: str, **changed: Any) -> StickyStreetClient:
        made.append(StickyStreetClient(settings_for(url, **changed)))
        return made[-1]

    yield client
    for one in made:
        one.close()


@pytest.fixture
def client(sandbox: StickyStreetSandbox, connect: Connect) -> StickyStreetClient:
    return connect(sandbox.url)


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[ReportReader]:
    """All readers of answers that were made."""
    made: list[ReportReader] = []

    def reader(*arguments: Any, **options: Any) -> ReportReader:
        made.append(ReportReader(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(module, "ReportReader", reader)
    return made


# What is asked for

WHO = {"user_id": "john1970", "account_id": "greatwidgets", "type": "reports", "report": "customers_all"}


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ({}, {"output": "JSON"}),
        ({"output": "XML"}, {"output": "XML"}),
        ({"last": 0}, {"output": "JSON", "last": "0"}),
        ({"last": "0"}, {"output": "JSON", "last": "0"}),
        ({"last": 12345}, {"output": "JSON", "last": "12345"}),
        ({"last": "012345"}, {"output": "JSON", "last": "012345"}),
        ({"last": 10**30 - 1}, {"output": "JSON", "last": "9" * 30}),
        ({"selected_campaigns": []}, {"output": "JSON"}),
        ({"selected_campaigns": None, "last": 5}, {"output": "JSON", "last": "5"}),
        ({"selected_campaigns": 123456789012}, {"output": "JSON", "selected_campaigns": "123456789012"}),
        (
            {"selected_campaigns": ["021987654321", 123456789012]},
            {"output": "JSON", "selected_campaigns": "021987654321,123456789012"},
        ),
        ({"callback": "some.functionName"}, {"output": "JSON", "callback": "some.functionName"}),
        ({"condensed": True}, {"output": "JSON", "condensed": "yes"}),
        ({"condensed": False, "output": "XML"}, {"output": "XML"}),
        (
            {"selected_campaigns": ["123456789012", "021987654321"]},
            {"output": "JSON", "selected_campaigns": "123456789012,021987654321"},
        ),
        (
            {"selected_campaigns": "123456789012,21987654321", "date_start": "2010-01-01", "date_end": "2011-12-31"},
            {
                "output": "JSON",
                "selected_campaigns": "123456789012,21987654321",
                "date_start": "2010-01-01",
                "date_end": "2011-12-31",
            },
        ),
        (
            {
                "selected_campaigns": ("7",),
                "date_start": datetime.date(2010, 1, 2),
                "date_end": pendulum.datetime(2010, 1, 2, 23, tz="America/New_York"),
            },
            {"output": "JSON", "selected_campaigns": "7", "date_start": "2010-01-02", "date_end": "2010-01-02"},
        ),
        (
            {"selected_campaigns": ["7"], "date_end": datetime.datetime(2010, 1, 2, 23)},
            {"output": "JSON", "selected_campaigns": "7", "date_end": "2010-01-02"},
        ),
    ],
)
def test_every_field_of_the_document_is_sent(
    sandbox: StickyStreetSandbox, client: StickyStreetClient, arguments: Any, fields: Mapping[str, str]
) -> None:
    list(client.all_customers(**arguments))
    (call,) = sandbox.calls
    assert call.fields == {**WHO, "user_password": "***", **fields}
    assert (call.verb, call.path, call.query, call.status) == ("POST", "/", [], 200)
    assert "api_access_key" not in call.headers


def test_a_key_travels_in_the_header(sandbox: StickyStreetSandbox, connect: Connect) -> None:
    client = connect(sandbox.url, user_password=KEY, key_in_header=True)
    assert len(list(client.all_customers())) == 60
    (call,) = sandbox.calls
    assert call.fields == {**WHO, "output": "JSON"}
    assert "api_access_key" in call.headers


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        (
            {"last": 1, "selected_campaigns": ["7"], "date_start": "2010-01-01"},
            ["last: excludes date_start, selected_campaigns"],
        ),
        ({"date_start": "2010-01-01"}, ["date_start, date_end: need selected_campaigns"]),
        ({"date_end": "2010-01-01", "last": "0"}, ["last: excludes date_end"]),
        (
            {"date_start": "2010-01-05 00:00:00", "selected_campaigns": ["7"]},
            ["got '2010-01-05 00:00:00'; a template makes the day of a datetime with | ds"],
        ),
        (
            {"date_start": "2011-01-01", "date_end": "2010-12-31", "selected_campaigns": ["7"]},
            ["date_start, date_end: 2011-01-01 is after 2010-12-31"],
        ),
        (
            {"date_start": "01/02/2010", "date_end": "2010-02-30", "selected_campaigns": ["7"]},
            ["date_start: expected a date, YYYY-MM-DD, got '01/02/2010'", "date_end: expected a date"],
        ),
        ({"selected_campaigns": ["1, 2"]}, ["selected_campaigns: expected ids"]),
        (
            {"selected_campaigns": "1, 2"},
            ["expected ids, which are digits without blanks, got ' 2'"],
        ),
        ({"selected_campaigns": ["1,2"]}, ["selected_campaigns: expected ids"]),
        ({"selected_campaigns": ["", "x"]}, ["got ''", "got 'x'"]),
        ({"selected_campaigns": [21987654321]}, ["got the number 21987654321, which may have lost leading zeros"]),
        ({"selected_campaigns": ["7", 10**12]}, ["which may have lost leading zeros; render_template_as_native_obj"]),
        ({"selected_campaigns": [10**5000]}, ["which may have lost leading zeros"]),
        ({"selected_campaigns": 5}, ["selected_campaigns: expected text, got the number 5"]),
        ({"selected_campaigns": 5.5}, ["selected_campaigns: expected a list of ids, got 5.5"]),
        *[
            (
                {"selected_campaigns": text},
                [f"got the text of a list, {text!r}; a template joins them with | join(',')"],
            )
            for text in ("['123456789012', '021987654321']", "[]", "('7',)", "{'7'}")
        ],
        ({"selected_campaigns": {"7": 1}}, ["selected_campaigns: expected a list of ids"]),
        ({"selected_campaigns": ""}, ["selected_campaigns: expected ids, which are digits without blanks, got ''"]),
        ({"selected_campaigns": set()}, ["selected_campaigns: there is none in it"]),
        ({"selected_campaigns": iter([])}, ["selected_campaigns: there is none in it"]),
        ({"selected_campaigns": False}, ["selected_campaigns: expected a list of ids, got False"]),
        ({"last": ""}, ["last: expected the id of a transaction, which is digits, or 0, got ''"]),
        *[({"last": last}, ["last: expected"]) for last in ("None", "null", "True", "-1", "1.5", "[1,2]", '"30"', "x")],
        *[({"last": last}, ["last: expected"]) for last in ("1" * 31, "x" * 5000, 10**30, 10**5000, "\uff13\uff10")],
        ({"output": ["JSON"]}, ["output: expected JSON or XML, got list ['JSON']"]),
        ({"last": -1}, ["last: expected"]),
        ({"last": True}, ["last: expected"]),
        ({"last": "1 2"}, ["last: expected"]),
        ({"last": 1.5}, ["last: expected"]),
        ({"output": "xml"}, ["output: expected JSON or XML, got 'xml'"]),
        (
            {"output": "XML", "callback": "f", "condensed": True},
            ["callback: is for JSON", "condensed: is for JSON"],
        ),
        ({"callback": "alert(1)"}, ["callback: expected the name of a function"]),
        ({"callback": ""}, ["callback: expected the name of a function"]),
        ({"condensed": "yes"}, ["condensed: expected true or false, got 'yes'"]),
    ],
)
def test_rules_are_checked_before_the_call(
    sandbox: StickyStreetSandbox, client: StickyStreetClient, arguments: Any, problems: list[str]
) -> None:
    for ask in (client.all_customers, client.report):
        with pytest.raises(OptimoveInputError) as caught:
            ask(**arguments)
        assert caught.value.function == "customers_all"
        assert len(caught.value.problems) == len(problems)
        for told, expected in zip(caught.value.problems, problems, strict=True):
            assert expected in told
    assert sandbox.calls == []


def test_an_argument_that_does_not_exist(client: StickyStreetClient) -> None:
    with pytest.raises(TypeError, match="user_password"):
        client.all_customers(user_password="x")  # type: ignore[call-arg]


# What comes back


def test_the_call_is_made_when_the_first_customer_is_asked_for(
    sandbox: StickyStreetSandbox, client: StickyStreetClient
) -> None:
    customers = client.all_customers()
    assert sandbox.calls == []
    assert next(customers)["first_name"] == "Jane"
    assert len(sandbox.calls) == 1
    assert len(list(customers)) == 59


@pytest.mark.parametrize("style", ["plain", "converted"])
@pytest.mark.parametrize("cursor", ["customer", "response", "nowhere"])
@pytest.mark.parametrize("customers", [0, 1, 60])
def test_the_same_in_every_form(
    sandbox: StickyStreetSandbox, client: StickyStreetClient, style: Any, cursor: Any, customers: int
) -> None:
    sandbox.json_style, sandbox.cursor, sandbox.customers = style, cursor, customers
    forms: list[Any] = [
        {"output": "XML"},
        {"output": "JSON"},
        {"condensed": True},
        {"callback": "on_customers"},
        {"callback": "on_customers", "condensed": True},
    ]
    reports = [client.report(**form) for form in forms]
    assert [report.beside for report in reports] == [reports[0].beside] * len(forms)
    assert [report.last_customer for report in reports] == [reports[0].last_customer] * len(forms)
    assert ("last" in reports[0].beside) is (cursor == "response")
    assert reports[0].rows == customers
    lines = [b"\n".join(lines.content for lines in report.lines()) for report in reports]
    assert lines == [lines[0]] * len(forms)
    found = [json.loads(line) for line in lines[0].splitlines()]
    id_of = [{"id": str(number + 1)} if cursor == "customer" else {} for number in range(customers)]
    assert found == [{**sandbox.customer(number), **id_of[number]} for number in range(customers)]
    assert found == list(client.all_customers(output="XML"))
    assert all(list(customer)[:15] == list(FIELDS) for customer in found)


def test_what_the_server_selects(sandbox: StickyStreetSandbox, client: StickyStreetClient) -> None:
    def codes(**arguments: Any) -> list[str]:
        return [customer["customer_code"] for customer in client.all_customers(**arguments)]

    def of(numbers: Any) -> list[str]:
        return [sandbox.customer(number)["customer_code"] for number in numbers]

    assert codes(selected_campaigns=CAMPAIGNS[1:]) == of(range(0, 60, 3))
    assert codes(selected_campaigns=CAMPAIGNS) == of(n for n in range(60) if n % 2 == 0 or n % 3 == 0)
    days = {"date_start": transaction_day(10), "date_end": transaction_day(20)}
    assert codes(selected_campaigns=[CAMPAIGNS[0]], **days) == of(range(10, 21, 2))
    assert codes(selected_campaigns=["5"]) == []
    sandbox.change(3, city="Elsewhere")
    assert codes(last=58) == of([58, 59, 3])
    assert codes(last=61) == []


@pytest.mark.parametrize("output", ["XML", "JSON"])
@pytest.mark.parametrize(
    ("changed", "words", "remark"),
    [
        ({"user_password": "fake-other"}, "Invalid user_id or user_password", PERHAPS_A_KEY),
        ({"user_password": f"{PASSWORD}\n"}, "Invalid user_id or user_password", BLANK),
        ({"user_password": f" {PASSWORD}"}, "Invalid user_id or user_password", BLANK),
        ({"user_id": "jane"}, "Invalid user_id or user_password", PERHAPS_A_KEY),
        ({"account_id": "other"}, "Invalid account_id", ""),
        (
            {"user_password": "fake-other", "key_in_header": True},
            "Invalid user_id or user_password",
            " (key_in_header is on, which is for access keys only)",
        ),
    ],
)
@pytest.mark.parametrize("status", [200, 401, 400])
def test_errors_have_the_servers_words(
    sandbox: StickyStreetSandbox, connect: Connect, output: Any, changed: Any, words: str, remark: str, status: int
) -> None:
    sandbox.error_status = status
    client = connect(sandbox.url, **changed)
    with pytest.raises(StickyStreetError) as caught:
        list(client.all_customers(output=output))
    error = caught.value
    if status == 401:
        words, remark = f"the credentials are not accepted: {words}", remark or PERHAPS_A_KEY
    assert (error.message, error.status, error.function) == (f"{words}{remark}", status, "customers_all")
    assert error.permanent
    assert isinstance(ending_the_task(error), EndingStickyStreetError)
    assert len(sandbox.calls) == 1


@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": "after"}, {"body": "<html>"}])
def test_a_report_takes_no_effect(
    sandbox: StickyStreetSandbox, client: StickyStreetClient, clock: Clock, fault: Any
) -> None:
    sandbox.fail("customers_all", times=3, **fault)
    with pytest.raises(StickyStreetError) as caught:
        client.report()
    assert not caught.value.may_have_happened
    assert not client.may_have_happened


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        ({"status": 503}, 2),
        ({"status": 500, "body": '<response status="error"><error>later</error></response>'}, 2),
        ({"status": 429, "headers": {"Retry-After": "7"}}, 2),
        ({"drop": "before"}, 2),
        ({"drop": "after"}, 2),
        ({"truncate": True}, 2),
        ({"body": '<response status="success"><customer><first_name>Half</first_name></customer>'}, 2),
        ({"body": '{"status":"success","customer":[{"first_name":"Half"},'}, 2),
        ({"body": 'call({"status":"success","customer":[{"first_name":"Half"}]}'}, 2),
    ],
)
def test_what_passes_is_tried_again_as_a_whole(
    sandbox: StickyStreetSandbox,
    client: StickyStreetClient,
    clock: Clock,
    readers: list[ReportReader],
    fault: Any,
    calls: int,
) -> None:
    sandbox.fail("customers_all", **fault)
    found = list(client.all_customers(output="XML"))
    assert [customer["id"] for customer in found] == [str(number) for number in range(1, 61)]
    assert len(sandbox.calls) == calls
    assert len(clock.naps) == calls - 1
    assert ("headers" not in fault) or clock.naps == [7.0]
    assert readers
    assert all(reader._file.closed for reader in readers)


def test_what_does_not_pass(
    sandbox: StickyStreetSandbox, client: StickyStreetClient, clock: Clock, readers: list[ReportReader]
) -> None:
    sandbox.fail("customers_all", body='<response status="success"><customer>', times=None)
    with pytest.raises(StickyStreetError, match=r"broke off.*\(tried 3 times\)") as caught:
        client.report()
    assert not caught.value.permanent
    assert len(readers) == 3
    assert all(reader._file.closed for reader in readers)


@pytest.mark.parametrize(
    ("body", "words", "permanent"),
    [
        ("", "no report came: the answer is empty", False),
        ("Service down", "no report came: Service down", False),
        ('"Invalid login"', "no report came: Invalid login", False),
        ("<!DOCTYPE html><html><body>Sign in</body></html>", "Sign in [an HTML page: a firewall or proxy", False),
        ("<!doctype html><title>Blocked</title>", "Blocked [an HTML page", False),
        ("<response><customer>", "the answer broke off", False),
        ("<response/>", "the answer cannot be read: it has neither a status nor customers", False),
        ('<!DOCTYPE r><response status="success"/>', "cannot be read: it has a document type", False),
        ('<response status="error"><error>Error message</error></response>', "customers_all: Error message", True),
    ],
)
def test_answers_that_are_no_report(
    sandbox: StickyStreetSandbox, client: StickyStreetClient, clock: Clock, body: str, words: str, permanent: bool
) -> None:
    sandbox.fail("customers_all", body=body, times=None)
    with pytest.raises(StickyStreetError) as caught:
        list(client.all_customers())
    assert words in str(caught.value)
    assert (caught.value.permanent, caught.value.status) == (permanent, 200)
    assert len(sandbox.calls) == (3 if "broke off" in words else 1)


@pytest.mark.parametrize(
    ("fault", "words", "permanent"),
    [
        (
            {"status": 302, "headers": {"Location": "https://example.com/x?key=1"}},
            "https://example.com/x, which",
            False,
        ),
        ({"status": 403, "body": "no"}, "not permitted: no", True),
        ({"status": 404, "body": "<html>where?</html>"}, "no such address, or nothing there: where?", True),
        ({"status": 204, "body": ""}, "no report came: the answer is empty", False),
    ],
)
def test_other_statuses(
    sandbox: StickyStreetSandbox, client: StickyStreetClient, fault: Any, words: str, permanent: bool
) -> None:
    sandbox.fail("customers_all", **fault)
    with pytest.raises(StickyStreetError) as caught:
        client.report()
    assert words in str(caught.value)
    assert caught.value.permanent is permanent
    assert caught.value.status == fault["status"]


def test_a_server_that_is_not_there(serve: LocalServers, connect: Connect, clock: Clock) -> None:
    with pytest.raises(StickyStreetError, match="tried 3 times") as caught:
        connect(serve.refusing_url()).report()
    assert (caught.value.status, caught.value.permanent) == (None, False)


def test_a_look_asks_for_nobody(sandbox: StickyStreetSandbox, client: StickyStreetClient) -> None:
    client.look()
    (call,) = sandbox.calls
    assert call.fields["selected_campaigns"] == "000000000000"


def test_a_look_does_not_read_everybody(
    sandbox: StickyStreetSandbox, client: StickyStreetClient, readers: list[ReportReader]
) -> None:
    # A server that pays no attention to campaigns it does not know.
    customers = (b'{"status":"success","customer":[', *[b'{"first_name":"Jane"},' * 5000] * 100, b"{}]}")
    sandbox.fail("customers_all", body=b"".join(customers))
    client.look()
    (reader,) = readers
    assert 0 < reader._rows < 10_000
    assert reader._file.closed


def test_a_report_that_nobody_reads_leaves_no_file(client: StickyStreetClient, readers: list[ReportReader]) -> None:
    next(client.all_customers())
    client.report().close()
    assert [reader._file.closed for reader in readers] == [True, True]


# What is meant to harm


class HostileSandbox(StickyStreetSandbox):
    """Answers with what its account's id names, up to 100 MB of it."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status
        self.sent: dict[str, int] = {}

    def _answer(self, function: str, received: Received) -> Reply:
        account = str(received.fields["account_id"])
        start, again, _ = HOSTILE[account]

        def pieces() -> Iterator[bytes]:
            self.sent[account] = 0
            for piece in itertools.islice(forever(start, again), 100):
                yield piece
                self.sent[account] += len(piece)

        return Reply(self.status, pieces())


@pytest.mark.parametrize("status", [200, 201, 400, 500])
def test_harm_over_http_is_refused_in_little_memory(status: int) -> None:
    if sys.platform != "linux":
        pytest.skip("tells memory in another way")
    with HostileSandbox(status) as sandbox:
        ran = subprocess.run(
            [sys.executable, "-m", "tests.clients.sticky_street.hostile_reader", sandbox.url, *HOSTILE],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
    told = json.loads(ran.stdout)
    assert set(told) == set(HOSTILE)
    for name, (_, _, words) in HOSTILE.items():
        assert status != 200 or words in told[name]["said"], name
        assert told[name]["said"] != "read", name
        # Some of it is on its way when the connection is closed.
        assert sandbox.sent[name] < 20 * MEGABYTE, name
        assert told[name]["memory"] < 60 * MEGABYTE, name


# What nobody may see


def in_xml(text: str) -> str:
    return "".join(f"&#{ord(character)};" for character in text)


@pytest.mark.parametrize(("secret", "in_header"), [(PASSWORD, False), (KEY, True)])
@pytest.mark.parametrize("form", [str, quote, quote_plus, html.escape, in_xml, lambda text: json.dumps(text)[1:-1]])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, '<response status="error"><error>not {}</error></response>'),
        (200, '{{"status":"error","error":"not {}"}}'),
        (200, "not {}"),
        (200, "<html><body>not {}</body></html>"),
        (400, '<response status="error"><error>not {}</error></response>'),
        (403, '{{"status":"error","error":"not {}"}}'),
        (503, "not {}"),
    ],
)
def test_secrets_are_in_no_error_and_no_log(
    sandbox: StickyStreetSandbox,
    connect: Connect,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    secret: str,
    in_header: bool,
    form: Callable[[str], str],
    status: int,
    body: str,
) -> None:
    sandbox.fail("customers_all", status=status, body=body.format(form(secret)), times=None)
    client = connect(sandbox.url, user_password=secret, key_in_header=in_header)
    with caplog.at_level(logging.DEBUG), pytest.raises(StickyStreetError) as caught:
        client.report()
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__) + caplog.text
    told += repr(client) + repr(client.settings) + repr(vars(caught.value)) + repr(caught.value.args)
    assert "not " in caught.value.message
    for shape in (str, quote, quote_plus, html.escape, in_xml, lambda text: json.dumps(text)[1:-1]):
        assert shape(secret) not in told
        assert shape(secret)[:12] not in told


SECRET = "sEcReT-pAsSwOrD"
HALVES = (SECRET[:7], SECRET[7:])


def error_in_xml(secret: str, encoding: str = "utf-8") -> str:
    declaration = f'<?xml version="1.0" encoding="{encoding}"?>'
    return f'{declaration}<response status="error"><error>not {secret}</error></response>'


@pytest.mark.parametrize("status", [200, 201, 400, 401, 500])
@pytest.mark.parametrize(
    ("secret", "body"),
    [
        ("pässwörd-geheim", error_in_xml("pässwörd-geheim", "iso-8859-1").encode("latin-1")),
        ("pässwörd-geheim", error_in_xml("pässwörd-geheim", "iso-8859-1").encode()),
        (SECRET, error_in_xml(SECRET, "utf-16").encode("utf-16")),
        (SECRET, error_in_xml(SECRET, "utf-16").encode("utf-16-le")),
        (SECRET, error_in_xml(SECRET, "utf-16").encode("utf-16-be")),
        (SECRET, json.dumps({"status": "error", "error": SECRET}).encode("utf-16")),
        (SECRET, json.dumps({"status": "error", "error": SECRET}).encode("utf-16-le")),
        (SECRET, error_in_xml("{}<![CDATA[{}]]>".format(*HALVES)).encode()),
        (SECRET, error_in_xml("y" * 1980 + "{}<![CDATA[{}]]>".format(*HALVES)).encode()),
        (SECRET, error_in_xml("y" * 1980 + "{}<!-- -->{}".format(*HALVES)).encode()),
        (SECRET, "<html>not {}<b>{}</b></html>".format(*HALVES).encode()),
        (SECRET, "not {}\n{}".format(*HALVES).encode()),
        (SECRET, f"user_password={SECRET}&type=reports".encode()),
    ],
)
def test_secrets_in_other_clothes(
    sandbox: StickyStreetSandbox,
    connect: Connect,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    secret: str,
    body: bytes,
    status: int,
) -> None:
    sandbox.fail("customers_all", status=status, body=body, times=None)
    with caplog.at_level(logging.DEBUG), pytest.raises(StickyStreetError) as caught:
        connect(sandbox.url, user_password=secret).report()
    context = caught.value.__context__
    told = f"{caught.value} {caught.value.__dict__} {context!r} {getattr(context, 'error', '')} {caplog.text}"
    for part in (secret, secret[:7], secret[-7:], secret[2:6]):
        assert part not in "".join(told.split()).replace("\\x00", "").replace("\0", "")


@pytest.mark.parametrize("status", [200, 201, 400, 500])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('[{"first_name":"Jane"}]', " bytes of data]"),
        ('{"rows":[{"first_name":"Jane"}]}', ""),
        ('{"rows":[{"first_name":"Jane', ""),
        ('<br />\n<b>Warning</b>: x in /a.php\n{"status":"success","customer":[{"a":"Jane"}]}', "of markup that is no"),
        ('Warning: x in /a.php\n{"customer":[{"a":"Jane"}]}', "Warning: x in /a.php [the beginning of 48 bytes]"),
        (
            'typeof cb === "f" && cb({"customer":[{"a":"Jane"}]});',
            'typeof cb === "f" && cb( [the beginning of 53 bytes]',
        ),
        ('<?xml version="1.0"?><customers><a>Jane</a></customers>', "[55 bytes of markup that is no page]"),
        ("<!-- x --><html><body>Sign in</body></html>", "Sign in [an HTML page"),
        ('<?xml version="1.0"?>\n<!DOCTYPE html><html>Sign in</html>', "Sign in [an HTML page"),
        ("Not today", "Not today"),
    ],
)
def test_customers_are_in_no_error(
    sandbox: StickyStreetSandbox, connect: Connect, clock: Clock, body: str, words: str, status: int
) -> None:
    sandbox.fail("customers_all", status=status, body=body, times=None)
    with pytest.raises(StickyStreetError) as caught:
        connect(sandbox.url).report()
    assert words in caught.value.message
    assert "Jane" not in str(caught.value) + repr(caught.value.__context__)


def test_a_report_with_a_status_of_an_error_is_none(
    sandbox: StickyStreetSandbox, client: StickyStreetClient, readers: list[ReportReader]
) -> None:
    sandbox.fail("customers_all", status=400, body='{"status":"success","customer":[{"a":"Jane"}]}')
    with pytest.raises(StickyStreetError, match="bytes of data"):
        client.report()
    assert all(reader._file.closed for reader in readers)


def test_no_room_for_a_report_is_not_asked_for_again(
    sandbox: StickyStreetSandbox, client: StickyStreetClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reports, "IN_MEMORY", 10)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(StickyStreetError, match="the folder for temporary files") as caught:
        client.report()
    assert caught.value.message.startswith(f"the folder for temporary files ({tmp_path / 'gone'}) does not take")
    # A later try may find room.
    assert not caught.value.permanent
    assert len(sandbox.calls) == 1


def test_a_secret_at_the_edge_of_a_long_text_is_not_cut(
    sandbox: StickyStreetSandbox, client: StickyStreetClient
) -> None:
    body = f'<response status="error"><error>{"x" * 1990}{html.escape(PASSWORD)}</error></response>'
    sandbox.fail("customers_all", body=body)
    with pytest.raises(StickyStreetError) as caught:
        client.report()
    assert caught.value.message.endswith("x***")


def test_nothing_of_customers_or_credentials_is_logged(
    sandbox: StickyStreetSandbox, client: StickyStreetClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        list(client.all_customers())
    assert "POST" in caplog.text
    for word in ("Jane", "example.com", PASSWORD, quote_plus(PASSWORD), "fake"):
        assert word not in caplog.text
