"""The Sticky Street of the sandbox, over HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from airflow_provider_optimove.sandbox import StickyStreetSandbox
from airflow_provider_optimove.sandbox.sticky_street import CAMPAIGNS, FIELDS, transaction_day

ASKED = {
    "user_id": "sandbox",
    "user_password": "sandbox-password",
    "account_id": "sandbox-account",
    "type": "reports",
    "report": "customers_all",
}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

Send = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sandbox() -> Iterator[StickyStreetSandbox]:
    with StickyStreetSandbox(customers=20) as running:
        yield running


@pytest.fixture
def send(sandbox: StickyStreetSandbox) -> Iterator[Send]:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)

    def post(
        fields: Mapping[str, str] = ASKED, *, verb: str = "POST", path: str = "/", headers: Mapping[str, str] = FORM
    ) -> tuple[int, str, str]:
        connection.request(verb, path, urlencode(fields), dict(headers))
        response = connection.getresponse()
        return response.status, response.headers.get_content_type(), response.read().decode()

    yield post
    connection.close()


def but(**changed: str) -> dict[str, str]:
    return {**ASKED, **changed}


def without(name: str) -> dict[str, str]:
    return {field: value for field, value in ASKED.items() if field != name}


def of_xml(text: str) -> list[dict[str, str]]:
    root = ElementTree.fromstring(text)  # noqa: S314 - our own
    assert (root.tag, root.get("status")) == ("response", "success")
    return [{field.tag: field.text or "" for field in customer} for customer in root.findall("customer")]


def numbers(found: list[dict[str, str]]) -> list[int]:
    return [int(customer["customer_username"][1:]) for customer in found]


def test_xml_is_the_default(sandbox: StickyStreetSandbox, send: Send) -> None:
    status, kind, text = send()
    assert (status, kind) == (200, "application/xml")
    found = of_xml(text)
    assert found == [{**sandbox.customer(number), "id": str(number + 1)} for number in range(20)]
    assert tuple(found[0]) == (*FIELDS, "id")
    assert send(but(output="XML"))[2] == text
    # Something of everything that has to be escaped, and something empty.
    assert {"<none>", "Smith & Sons", '"Lucky" Luke'} <= {customer["last_name"] for customer in found}
    assert "" in {customer["address2"] for customer in found}


def test_json_is_the_same(sandbox: StickyStreetSandbox, send: Send) -> None:
    expected = of_xml(send()[2])
    status, kind, spaced = send(but(output="JSON"))
    assert (status, kind) == (200, "application/json")
    assert json.loads(spaced) == {"status": "success", "customer": expected}
    condensed = send(but(output="JSON", condensed="yes"))[2]
    assert json.loads(condensed) == json.loads(spaced)
    assert "\n" in spaced
    assert "\n" not in condensed
    _, kind, called = send(but(output="JSON", callback="some.function", condensed="yes"))
    assert (kind, called) == ("application/javascript", f"some.function({condensed});")


def test_json_as_a_converter_makes_it(sandbox: StickyStreetSandbox, send: Send) -> None:
    sandbox.json_style = "converted"
    found = json.loads(send(but(output="JSON"))[2])["response"]
    assert found["@attributes"] == {"status": "success"}
    assert found["customer"][0]["address2"] == []
    alone = json.loads(send(but(output="JSON", last="19"))[2])["response"]["customer"]
    assert alone["customer_username"] == "C0000019"
    assert "customer" not in json.loads(send(but(output="JSON", last="20"))[2])["response"]
    error = json.loads(send(but(output="JSON", last="x"))[2])
    assert error == {"response": {"@attributes": {"status": "error"}, "error": "last must be an ID"}}


def test_where_the_id_stands(sandbox: StickyStreetSandbox, send: Send) -> None:
    sandbox.cursor = "response"
    root = ElementTree.fromstring(send()[2])  # noqa: S314
    assert root.get("last") == "20"
    assert "id" not in of_xml(send()[2])[0]
    assert json.loads(send(but(output="JSON"))[2])["last"] == "20"
    assert json.loads(send(but(output="JSON", last="25"))[2]) == {"status": "success", "last": "25"}
    sandbox.cursor = "nowhere"
    text = send(but(output="JSON"))[2]
    assert '"last"' not in text
    assert '"id"' not in text


def test_changes_come_last(sandbox: StickyStreetSandbox, send: Send) -> None:
    assert [sandbox.change(3, custom1="no"), sandbox.change(1), sandbox.change(20, first_name="New")] == [21, 22, 23]
    assert numbers(of_xml(send()[2])) == [0, 2, *range(4, 20), 3, 1, 20]
    assert sandbox.change(3, city="Elsewhere") == 24
    changed = of_xml(send(but(last="20"))[2])
    assert numbers(changed) == [1, 20, 3]
    assert [customer["id"] for customer in changed] == ["22", "23", "24"]
    assert (changed[2]["custom1"], changed[2]["city"], changed[1]["first_name"]) == ("no", "Elsewhere", "New")
    assert numbers(of_xml(send(but(last="18"))[2])) == [18, 19, 1, 20, 3]
    assert of_xml(send(but(last="24"))[2]) == []
    assert list(sandbox.changes) == [1, 20, 3]


def test_campaigns_and_dates(send: Send) -> None:
    def found(**fields: str) -> list[int]:
        return numbers(of_xml(send(but(**fields))[2]))

    assert found(selected_campaigns=CAMPAIGNS[0]) == list(range(0, 20, 2))
    assert found(selected_campaigns=CAMPAIGNS[1]) == list(range(0, 20, 3))
    assert found(selected_campaigns=",".join(CAMPAIGNS)) == [n for n in range(20) if n % 2 == 0 or n % 3 == 0]
    assert found(selected_campaigns="5") == []
    first, last = transaction_day(4).isoformat(), transaction_day(8).isoformat()
    assert found(selected_campaigns=CAMPAIGNS[0], date_start=first, date_end=last) == [4, 6, 8]
    assert found(selected_campaigns=CAMPAIGNS[0], date_start=last) == list(range(8, 20, 2))
    # As the document has it: without campaigns, dates are ignored.
    assert found(date_start="nonsense", date_end="2010-01-01") == list(range(20))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (without("user_id"), "user_id is required"),
        (without("account_id"), "account_id is required"),
        (without("type"), "type is required"),
        (without("report"), "report is required"),
        (without("user_password"), "Invalid user_id or user_password"),
        (but(user_password="fake"), "Invalid user_id or user_password"),
        (but(user_id="fake"), "Invalid user_id or user_password"),
        (but(account_id="fake"), "Invalid account_id"),
        (but(type="campaigns"), "Unknown report: campaigns, customers_all"),
        (but(report="customers_some"), "Unknown report: reports, customers_some"),
        (but(last="0", selected_campaigns="5"), "last and selected_campaigns are incompatible"),
        (but(last="x"), "last must be an ID"),
        (but(selected_campaigns="5, 6"), "selected_campaigns must be campaign IDs"),
        (but(selected_campaigns="5", date_start="01/02/2010"), "date_start must be a date as YYYY-MM-DD"),
        (but(selected_campaigns="5", date_end="2010-02-30"), "date_end must be a date as YYYY-MM-DD"),
        (but(output="CSV"), "output must be JSON or XML"),
        (but(output="JSON", callback="alert(1)"), "callback must be the name of a function"),
    ],
)
def test_errors(sandbox: StickyStreetSandbox, send: Send, fields: dict[str, str], words: str) -> None:
    for status in (200, 400):
        sandbox.error_status = status
        answered, _, text = send(fields)
        assert answered == status
        if fields.get("output") == "JSON":
            told = json.loads(text)
            assert (told["status"], told["error"]) == ("error", words)
        else:
            root = ElementTree.fromstring(text)  # noqa: S314
            assert (root.get("status"), [element.tag for element in root]) == ("error", ["error"])
            assert words in str(root.findtext("error"))


def test_the_key_in_the_header_wins(send: Send) -> None:
    with_key = {**FORM, "api_access_key": "sandbox-access-key"}
    assert of_xml(send(without("user_password"), headers=with_key)[2])
    assert of_xml(send(but(user_password="fake"), headers=with_key)[2])
    refused = send(headers={**FORM, "api_access_key": "fake"})[2]
    assert "Invalid user_id or user_password" in refused


def test_other_addresses_and_verbs(sandbox: StickyStreetSandbox, send: Send) -> None:
    assert send(path="/api.php")[0] == 404
    assert send(verb="GET")[0] == 405
    assert [(call.function, call.verb, call.status) for call in sandbox.calls] == [
        ("/api.php", "POST", 404),
        ("customers_all", "GET", 405),
    ]


def test_calls_hold_no_secrets(sandbox: StickyStreetSandbox, send: Send) -> None:
    send(but(output="JSON"), headers={**FORM, "api_access_key": "sandbox-access-key"})
    (call,) = sandbox.calls_of("customers_all")
    assert call.fields == {**ASKED, "output": "JSON", "user_password": "***"}
    assert "sandbox-access-key" not in repr(call)


def test_connections(sandbox: StickyStreetSandbox) -> None:
    fields = json.loads(sandbox.connection)
    assert fields["extra"] == {"account_id": "sandbox-account"}
    assert (fields["conn_type"], fields["login"], fields["password"]) == (
        "sticky_street",
        "sandbox",
        "sandbox-password",
    )
    with_key: dict[str, Any] = json.loads(sandbox.key_connection)
    assert (with_key["password"], with_key["extra"]["key_in_header"]) == ("sandbox-access-key", True)


@pytest.mark.parametrize("output", ["XML", "JSON"])
def test_a_large_report_comes_in_pieces(sandbox: StickyStreetSandbox, output: str) -> None:
    sandbox.customers = 5000
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    connection.request("POST", "/", urlencode(but(output=output)), FORM)
    response = connection.getresponse()
    assert response.headers["Transfer-Encoding"] == "chunked"
    text = response.read().decode()
    connection.close()
    found = of_xml(text) if output == "XML" else json.loads(text)["customer"]
    assert numbers(found) == list(range(5000))
