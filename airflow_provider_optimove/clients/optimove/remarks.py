"""What the log says beside an answer that is right but easily misread. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow_provider_optimove.clients.optimove.functions import Function


class Remark(NamedTuple):
    """A line for the log, and its level."""

    level: int
    text: str


def before(function: Function, bound: Mapping[str, Any]) -> Remark | None:
    """What to say before a call is made."""
    if function.name == "UnregisterEventListener" and not {"ListenerURL", "ChannelID"} & set(bound):
        return Remark(
            logging.WARNING,
            f"without URL and channel, Optimove probably drops every listener of event type {bound['EventTypeID']}",
        )
    return None


def after(function: Function, bound: Mapping[str, Any], answer: Any, *, repeated: bool) -> Remark | None:
    """What to say of an answer.

    :param repeated: whether the call was sent more than once, so that an earlier one may have taken effect.
    """
    if function.name == "RemoveCustomerPII" and repeated and answer and any(answer.values()):
        return Remark(
            logging.WARNING,
            "the call was sent again after a lost answer: among the failed ids may be some that the first call erased",
        )
    if function.reads and not answer and not bound.get("$skip"):
        why = f"; {function.no_data}" if function.no_data else ""
        return Remark(logging.INFO, f"no data: the inputs are valid, and Optimove has nothing for them{why}")
    return None
