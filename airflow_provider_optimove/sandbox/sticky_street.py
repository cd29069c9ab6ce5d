"""A Sticky Street on localhost: customers, their changes, and the report of all of them in XML and JSON."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Literal, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from airflow_provider_optimove.sandbox.serving import JSON, Received, Refused, Reply, SystemStandIn, same
from airflow_provider_optimove.sandbox.world import customer_id, mix

CUSTOMERS_ALL = "customers_all"
REQUIRED = ("user_id", "account_id", "type", "report")
FIELDS = (
    *("first_name", "last_name", "phone", "email", "address1", "address2", "city", "state", "zip", "country"),
    *("custom1", "custom_date", "customer_username", "customer_code", "card_number"),
)
XML = "application/xml; charset=utf-8"
JAVASCRIPT = "application/javascript; charset=utf-8"
ROWS_A_PIECE = 500

CAMPAIGNS = ("123456789012", "021987654321")
"""Every second customer had a transaction in the first, every third one in the other; see :func:`transaction_day`."""
FIRST_DAY = datetime.date(2010, 1, 1)
DAYS = 730

FIRST_NAMES = ("Jane", "Zoë", "José", "Søren", "Łucja", "Tom")
LAST_NAMES = ("Doe", "O'Neill", "Smith & Sons", "Müller", '"Lucky" Luke', "<none>")
CITIES = (("Anytown", "ND", "NZ"), ("Wellington", "WLG", "NZ"), ("São Paulo", "SP", "BR"), ("Köln", "NW", "DE"))
WANTS_MAIL = ("yes", "no", "yes", "")

DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
NAME_OF_A_FUNCTION = re.compile(r"[A-Za-z_$][\w$.]*", re.ASCII)

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
# Blanks are cheap in this way, and no other reader minds where they stand.
_encode_spaced = json.JSONEncoder(ensure_ascii=False, separators=(",\n   ", ": ")).encode


class Change(NamedTuple):
    """What a customer is since a change.

    :param id: of the change; a later one has a greater one.
    :param fields: those that are not what they were at first.
    """

    id: int
    fields: Mapping[str, str]


class Asked(NamedTuple):
    """What a report is to hold, and its form."""

    last: int
    days: tuple[datetime.date, datetime.date]
    campaigns: tuple[str, ...]
    output: Literal["JSON", "XML"]
    callback: str
    condensed: bool


class StickyStreetSandbox(SystemStandIn):
    """A Sticky Street on localhost, to try things out and for tests. A context manager, or ``start()`` and ``stop()``.

    Its one operation is ``customers_all``. Customers are numbered from 0; ``customer_username`` is the id that the
    customer of the same number has in the sandbox's Optimove, and ``custom1`` says whether she wants e-mail (``yes``,
    ``no`` or nothing). :meth:`change` changes one. ``changes`` is what has changed, by number, in its order.

    These switches may be set at any time:

    * ``cursor``: where an answer has the id to go on from: ``customer``, as the field ``id`` of each customer, as at
      first; ``response``, as ``last`` beside the customers; or ``nowhere``
    * ``json_style``: ``plain``, or ``converted``, as a converter makes it of XML: one customer is no list, and what is
      empty an empty list
    * ``error_status``: the HTTP status of errors

    :param port: port on 127.0.0.1; 0 takes a free one.
    :param customers: how many customers there are.
    :param user_id: the user it knows.
    :param user_password: that user's password.
    :param access_key: the key that it accepts in the header ``api_access_key``.
    :param account_id: the account.
    """

    def __init__(
        self,
        port: int = 0,
        customers: int = 1000,
        user_id: str = "sandbox",
        user_password: str = "sandbox-password",  # noqa: S107
        access_key: str = "sandbox-access-key",
        account_id: str = "sandbox-account",
    ) -> None:
        super().__init__(port)
        self.customers = customers
        self.user_id = user_id
        self.user_password = user_password
        self.access_key = access_key
        self.account_id = account_id
        self.changes: dict[int, Change] = {}
        self.cursor: Literal["customer", "response", "nowhere"] = "customer"
        self.json_style: Literal["plain", "converted"] = "plain"
        self.error_status = 200

    @property
    def connection(self) -> str:
        """The Airflow connection with the password, as JSON for ``AIRFLOW_CONN_STICKY_STREET_DEFAULT``."""
        return self._connection(self.user_password)

    @property
    def key_connection(self) -> str:
        """The Airflow connection with the access key, as JSON for ``AIRFLOW_CONN_STICKY_STREET_DEFAULT``."""
        return self._connection(self.access_key, key_in_header=True)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What the record of calls does not hold: password and access key."""
        return (self.user_password, self.access_key)

    def change(self, customer: int, **fields: str) -> int:
        """Change a customer, or add a new one.

        :param customer: by number; those from ``customers`` on are new.
        :param fields: what changes.
        :returns: the id of the change.
        """
        with self.lock:
            id_ = self._last_id + 1
            before = self.changes.pop(customer, None)
            self.changes[customer] = Change(id_, {**(before.fields if before else {}), **fields})
            return id_

    def customer(self, number: int) -> dict[str, str]:
        """A customer as reports have it, without an id.

        :param number: of the customer.
        """
        change = self.changes.get(number)
        return {**_first_fields(number), **(change.fields if change else {})}

    @property
    def _last_id(self) -> int:
        return max([self.customers, *(change.id for change in self.changes.values())])

    def _connection(self, password: str, **extra: Any) -> str:
        fields = {"conn_type": "sticky_street", "host": self.url, "login": self.user_id, "password": password}
        return json.dumps({**fields, "extra": {"account_id": self.account_id, **extra}})

    def _function_of(self, received: Received) -> str | None:
        return CUSTOMERS_ALL if received.path == "/" else None

    def _answer(self, function: str, received: Received) -> Reply:
        if received.verb != "POST":
            return self._error(f"a report is asked for with POST, not {received.verb}", received, 405)
        try:
            self._authenticate(received)
            asked = _asked(received.fields)
        except Refused as refused:
            return self._error(refused.text, received, self.error_status)
        with self.lock:
            changes, last = dict(self.changes), max(asked.last, self._last_id)
        customers = chain(self._unchanged(asked, changes), self._changed(asked, changes))
        return self._report(asked, last, customers)

    def _unchanged(self, asked: Asked, changes: Mapping[int, Change]) -> Iterator[dict[str, str]]:
        """Customers as they were at first; the id of each is its number and one."""
        with_id = self.cursor == "customer"
        for number in range(asked.last, self.customers):
            if number not in changes and _took_part(number, asked):
                fields = _first_fields(number)
                if with_id:
                    fields["id"] = str(number + 1)
                yield fields

    def _changed(self, asked: Asked, changes: Mapping[int, Change]) -> Iterator[dict[str, str]]:
        for number, change in changes.items():
            if change.id > asked.last and _took_part(number, asked):
                of_id = {"id": str(change.id)} if self.cursor == "customer" else {}
                yield {**_first_fields(number), **change.fields, **of_id}

    def _authenticate(self, received: Received) -> None:
        for name in REQUIRED:
            if not received.fields.get(name):
                raise Refused(f"{name} is required")
        key = received.headers.get("api_access_key")
        if key is None:
            accepted = same(str(received.fields.get("user_password", "")), self.user_password)
        else:
            accepted = same(key, self.access_key)
        if not accepted or received.fields["user_id"] != self.user_id:
            raise Refused("Invalid user_id or user_password")
        if received.fields["account_id"] != self.account_id:
            raise Refused("Invalid account_id")

    def _error(self, text: str, received: Received, status: int) -> Reply:
        if received.fields.get("output") == "JSON":
            return Reply(status, _encode(self._dressed({"error": text}, "error")).encode())
        words = f"<error>{escape(text)}</error>"
        return Reply(status, f'<response status="error">\n{words}\n</response>'.encode(), XML)

    def _dressed(self, fields: Mapping[str, Any], status: str) -> dict[str, Any]:
        if self.json_style == "plain":
            return {"status": status, **fields}
        return {"response": {"@attributes": {"status": status}, **fields}}

    def _report(self, asked: Asked, last: int, customers: Iterator[dict[str, str]]) -> Reply:
        beside = {"last": str(last)} if self.cursor == "response" else {}
        if asked.output == "XML":
            return Reply(body=_xml(beside, customers), content_type=XML)
        pieces = self._json(asked, beside, customers)
        if not asked.callback:
            return Reply(body=pieces, content_type=JSON)
        return Reply(body=chain([f"{asked.callback}(".encode()], pieces, [b");"]), content_type=JAVASCRIPT)

    def _json(self, asked: Asked, beside: Mapping[str, str], customers: Iterator[dict[str, str]]) -> Iterator[bytes]:
        converted = self.json_style == "converted"
        encode = _encode if asked.condensed else _encode_spaced
        first = list(islice(customers, 2))
        if not first:
            yield encode(self._dressed(beside, "success")).encode()
            return
        if converted and len(first) == 1:
            yield encode(self._dressed({**beside, "customer": _without_texts(first)[0]}, "success")).encode()
            return
        opening, closing = encode(self._dressed({**beside, "customer": []}, "success")).split("[]")
        separator = "," if asked.condensed else ",\n  "
        yield f"{opening}[".encode()
        for number, rows in enumerate(_by_pieces(chain(first, customers))):
            shown: list[Any] = _without_texts(rows) if converted else rows
            yield f"{separator if number else ''}{encode(shown)[1:-1]}".encode()
        yield f"]{closing}".encode()


def transaction_day(customer: int) -> datetime.date:
    """The day on which a customer had a transaction.

    :param customer: by number.
    """
    return FIRST_DAY + datetime.timedelta(days=customer % DAYS)


def _asked(fields: Mapping[str, Any]) -> Asked:
    if fields["type"] != "reports" or fields["report"] != CUSTOMERS_ALL:
        raise Refused(f"Unknown report: {fields['type']}, {fields['report']}")
    campaigns = tuple(filter(None, str(fields.get("selected_campaigns", "")).split(",")))
    if any(not campaign.isdigit() for campaign in campaigns):
        raise Refused("selected_campaigns must be campaign IDs separated with commas, without spaces")
    last = str(fields.get("last", "0"))
    if "last" in fields and campaigns:
        raise Refused("last and selected_campaigns are incompatible")
    if not last.isdecimal():
        raise Refused("last must be an ID")
    output = str(fields.get("output", "XML"))
    if output not in ("JSON", "XML"):
        raise Refused("output must be JSON or XML")
    callback = str(fields.get("callback", ""))
    if callback and not NAME_OF_A_FUNCTION.fullmatch(callback):
        raise Refused("callback must be the name of a function")
    days = (datetime.date.min, datetime.date.max)
    if campaigns:
        days = (_date(fields, "date_start", days[0]), _date(fields, "date_end", days[1]))
    return Asked(
        last=int(last),
        days=days,
        campaigns=campaigns,
        output="JSON" if output == "JSON" else "XML",
        callback=callback,
        condensed=fields.get("condensed") == "yes",
    )


def _date(fields: Mapping[str, Any], name: str, default: datetime.date) -> datetime.date:
    text = fields.get(name)
    if not text:
        return default
    try:
        if DATE.fullmatch(text):
            return datetime.date.fromisoformat(text)
    except ValueError:
        pass
    raise Refused(f"{name} must be a date as YYYY-MM-DD")


def _took_part(number: int, asked: Asked) -> bool:
    if not asked.campaigns:
        return True
    took_part = any(
        campaign in asked.campaigns and number % divisor == 0 for divisor, campaign in enumerate(CAMPAIGNS, start=2)
    )
    return took_part and asked.days[0] <= transaction_day(number) <= asked.days[1]


def _first_fields(number: int) -> dict[str, str]:
    city, state, country = CITIES[number % len(CITIES)]
    first_name = FIRST_NAMES[number % len(FIRST_NAMES)]
    return {
        "first_name": first_name,
        "last_name": LAST_NAMES[number // 2 % len(LAST_NAMES)],
        "phone": f"555-{number:07d}",
        "email": f"customer.{number}@example.com",
        "address1": f"{number % 900 + 1} Main St.",
        "address2": f"Apt {number % 7}" if number % 3 else "",
        "city": city,
        "state": state,
        "zip": f"{number % 90_000 + 1_000:05d}",
        "country": country,
        "custom1": WANTS_MAIL[number % len(WANTS_MAIL)],
        "custom_date": f"19{number % 60 + 40}-0{number % 9 + 1}-1{number % 10}",
        "customer_username": customer_id(number),
        "customer_code": f"{mix(number) % 10**16:016d}",
        "card_number": f"{11111111 + number:08d}",
    }


def _xml(beside: Mapping[str, str], customers: Iterable[dict[str, str]]) -> Iterator[bytes]:
    attributes = "".join(f" {name}={quoteattr(value)}" for name, value in beside.items())
    yield f'<response status="success"{attributes}>\n'.encode()
    for rows in _by_pieces(customers):
        yield "".join(_xml_of(row) for row in rows).encode()
    yield b"</response>"


def _xml_of(customer: Mapping[str, str]) -> str:
    fields = "\n".join([f"<{name}>{_safe(value)}</{name}>" for name, value in customer.items()])
    return f"<customer>\n{fields}\n</customer>\n"


def _safe(text: str) -> str:
    return escape(text) if "<" in text or "&" in text else text


def _by_pieces(customers: Iterable[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    customers = iter(customers)
    while rows := list(islice(customers, ROWS_A_PIECE)):
        yield rows


def _without_texts(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """With empty lists for empty texts."""
    return [{name: value or [] for name, value in row.items()} for row in rows]
