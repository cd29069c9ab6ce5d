"""Rows about customers, kept as ranges until a page of them is written out as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_optimove.sandbox.world import CUSTOMER_ID_FORMAT, customer_id

DRIFTED_KEYS: Mapping[str, str] = {
    "TemplateID": "TemplateId",
    "ChannelID": "ChannelId",
    "ID": "id",
    "Name": "name",
}

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True)
class Span:
    """One row a customer. A field is a value that all rows share, or a function of the customer's number."""

    customers: Sequence[int]
    fields: Mapping[str, Any]

    def slice(self, start: int, stop: int) -> Span:
        return Span(self.customers[start:stop], self.fields)


@dataclass(frozen=True)
class CustomerRows:
    """Spans one after the other."""

    spans: tuple[Span, ...]

    @classmethod
    def of(cls, spans: Iterable[Span]) -> CustomerRows:
        return cls(tuple(span for span in spans if span.customers))

    def __len__(self) -> int:
        return sum(len(span.customers) for span in self.spans)

    def page(self, skip: int, top: int) -> CustomerRows:
        """At most ``top`` rows after the first ``skip``."""
        spans = []
        for span in self.spans:
            size = len(span.customers)
            if skip < size and top > 0:
                part = span.slice(skip, skip + top)
                spans.append(part)
                top -= len(part.customers)
            skip = max(0, skip - size)
        return CustomerRows(tuple(spans))

    def with_fields(self, fields: Mapping[str, Any]) -> CustomerRows:
        """The rows with more fields, where they are about a customer."""
        return CustomerRows(
            tuple(
                Span(span.customers, {**span.fields, **fields}) if "CustomerID" in span.fields else span
                for span in self.spans
            )
        )


def drifted(value: Any) -> Any:
    """Rows with ids as strings and with the other spelling of some keys."""
    if isinstance(value, list):
        return [drifted(item) for item in value]
    if isinstance(value, dict):
        return {DRIFTED_KEYS.get(key, key): _drifted_field(key, item) for key, item in value.items()}
    return value


def _drifted_field(key: str, value: Any) -> Any:
    if callable(value):
        return lambda customer: _drifted_field(key, value(customer))
    if key.lower().endswith("id") and isinstance(value, int):
        return str(value)
    return drifted(value[0] if key == "Events" else value)


def encode(answer: Any, *, drift: bool = False) -> bytes:
    """An answer as JSON."""
    if isinstance(answer, CustomerRows):
        return f"[{','.join(_rows_of(span, drift) for span in answer.spans)}]".encode()
    return _encode(drifted(answer) if drift else answer).encode()


def _rows_of(span: Span, drift: bool) -> str:
    """The rows as text. Where only the ids differ they come from one template: large pages must not take long."""
    fields = {}
    for key, value in span.fields.items():
        drifts = drift and value is not customer_id
        fields[DRIFTED_KEYS.get(key, key) if drift else key] = _drifted_field(key, value) if drifts else value
    varying = {key: value for key, value in fields.items() if callable(value)}
    if list(varying.values()) == [customer_id]:
        row = _encode({key: "\0" if key in varying else value for key, value in fields.items()})
        template = row.replace("%", "%%").replace("\\u0000", CUSTOMER_ID_FORMAT)
        return ",".join(map(template.__mod__, span.customers))
    columns = list(varying.items())
    return _encode([fields | {key: value(customer) for key, value in columns} for customer in span.customers])[1:-1]
