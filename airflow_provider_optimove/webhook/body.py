"""The body of a delivery: JSON that everything behind can store and read. No I/O."""

from __future__ import annotations

import json
import math
from typing import Any

from airflow_provider_optimove.exceptions import OptimoveInputError

LARGEST_BODY = 64 * 1024
DEEPEST = 20
LARGEST_INTEGER = 2**63


def payload_of(body: bytes) -> dict[str, Any]:
    """The object in the body of a delivery.

    What a database, or the processes of Airflow among each other, could not pass on is refused: numbers beyond 64 bits,
    NUL characters, halves of surrogate pairs, deep nesting.

    :param body: of the request, whole.
    :raises OptimoveInputError: it is no such object; the message shows nothing of it.
    """
    try:
        # Some senders put a byte order mark first.
        payload = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_object_of, parse_constant=_refuse_constant)
    except OptimoveInputError:
        raise
    except (ValueError, RecursionError):
        raise OptimoveInputError("the body is not JSON") from None
    if not isinstance(payload, dict):
        raise OptimoveInputError("the body is no object")
    level: list[Any] = [payload]
    for _ in range(DEEPEST):
        level = [inner for value in level for inner in _checked(value)]
    if any(_checked(value) for value in level):
        raise OptimoveInputError(f"the body is nested more than {DEEPEST} deep")
    return payload


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise OptimoveInputError("a key is there twice")
    return found


def _refuse_constant(name: str) -> None:
    raise OptimoveInputError("the body is not JSON")


def _checked(value: Any) -> list[Any]:
    """What is in a value; raises where the value itself is not good."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, list):
        return value
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
        raise OptimoveInputError("the body has a character that is none")
    if isinstance(value, int) and not -LARGEST_INTEGER <= value < LARGEST_INTEGER:
        raise OptimoveInputError("the body has a number of more than 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise OptimoveInputError("the body has a number of more than 64 bits")
    return []
