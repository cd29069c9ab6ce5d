"""Which bodies are taken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.webhook.body import DEEPEST, LARGEST_BODY, payload_of


def nested(depth: int) -> bytes:
    """A number in so many levels."""
    return b'{"a":' + b"[" * (depth - 1) + b"1" + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"CampaignID": 6577},
        {"a": [1, -1.5, 1e300, True, None, "\u20ac\U0001f600", {"b": {}}]},
        {"least": -(2**63), "most": 2**63 - 1},
    ],
)
def test_an_object(payload: dict[str, Any]) -> None:
    assert payload_of(json.dumps(payload).encode()) == payload
    assert payload_of(json.dumps(payload, ensure_ascii=False).encode("utf-8-sig")) == payload


def test_nesting() -> None:
    assert payload_of(nested(DEEPEST))
    for depth in (DEEPEST + 1, DEEPEST + 2, 500):
        with pytest.raises(OptimoveInputError, match=f"nested more than {DEEPEST} deep"):
            payload_of(nested(depth))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"{'a': 1}", "the body is not JSON"),
        (b'{"a": 1} x', "the body is not JSON"),
        (b'{"a": NaN}', "the body is not JSON"),
        (b'{"a": -Infinity}', "the body is not JSON"),
        (b'{"a": "\xff"}', "the body is not JSON"),
        ('{"a": 1}'.encode("utf-16"), "the body is not JSON"),
        (nested(30_000), "the body is not JSON"),
        (b"[" * LARGEST_BODY, "the body is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "the body is not JSON"),
        (b"[]", "the body is no object"),
        (b"null", "the body is no object"),
        (b'"{}"', "the body is no object"),
        (b'{"a": 1, "a": 1}', "a key is there twice"),
        (b'{"x": [{"a": 1, "b": 2, "a": 3}]}', "a key is there twice"),
        (b'{"a": 9223372036854775808}', "the body has a number of more than 64 bits"),
        (b'{"a": [-9223372036854775809]}', "the body has a number of more than 64 bits"),
        (b'{"a": 1e999}', "the body has a number of more than 64 bits"),
        (b'{"a": "\\u0000"}', "the body has a character that is none"),
        (b'{"a\\u0000": 1}', "the body has a character that is none"),
        (b'{"a": {"b": ["\\ud800"]}}', "the body has a character that is none"),
        (nested(DEEPEST).replace(b"1", b'"\\u0000"'), "the body has a character that is none"),
        (b'{"\\udfff": 1}', "the body has a character that is none"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(OptimoveInputError) as caught:
        payload_of(body)
    assert caught.value.message == reason
