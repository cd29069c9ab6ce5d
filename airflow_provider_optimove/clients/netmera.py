"""The Netmera client: events that ask Netmera to send push notifications.

Values in, values out: :func:`checked_event`. :class:`NetmeraClient` does the I/O.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypedDict
from urllib.parse import quote

from airflow_provider_optimove.clients.answers import Operation, explanation, success_of
from airflow_provider_optimove.clients.calls import SystemClient, SystemSettings
from airflow_provider_optimove.clients.http import ConnectionFailure, HttpAnswer, HttpRequest
from airflow_provider_optimove.clients.optimove.functions.types import Integer, UtcTime
from airflow_provider_optimove.clients.optimove.values import Unfit, integer_value, shown, value_check
from airflow_provider_optimove.exceptions import NetmeraError, OptimoveInputError

log = logging.getLogger(__name__)

CANCELLED, SINGLE, BULK = 4, 11, 13
EVENT_TYPES: Mapping[str, int] = MappingProxyType({"cancelled": CANCELLED, "single": SINGLE, "bulk": BULK})
"""What Netmera is told of: a campaign that was cancelled, a push to one customer, a push to many."""

CHANNELS = (459, 481)
"""Netmera's ChannelIDs at Optimove that are documented; accounts have others."""

FIELDS = ("eventTypeId", "timeStamp", "campaignId", "channelId")
"""Those of every event, as Netmera names them."""

PUSH: Final = Operation("Netmera", "push_event", repeatable=False, twice="push twice")
REACH: Final = Operation("Netmera", "reach", repeatable=True)

ADDRESS = "rest/optimove/event"
"""The app key comes behind it."""
API_KEY_HEADER = "X-netmera-api-key"

_event_type = Integer(names=tuple(EVENT_TYPES.items()))
_utc_time: Callable[[Any], str] = value_check(UtcTime())


@dataclass(frozen=True)
class NetmeraSettings(SystemSettings):
    """An app at Netmera, and how to reach it.

    :param app_key: the app's key, which stands in the URL.
    :param api_key: the REST API key.
    """

    app_key: str = field(repr=False)
    api_key: str = field(repr=False)

    @property
    def secrets(self) -> list[str]:
        """Both keys."""
        return [self.app_key, self.api_key]


class PushedEvent(TypedDict):
    """What Netmera was told; the time in UTC, ``YYYY-MM-DD HH:MM:SS``. Nothing of it is a customer's."""

    event_type: int
    campaign_id: int
    channel_id: int
    timestamp: str


def checked_event(
    event_type: int | str,
    campaign_id: int | str,
    channel_id: int | str,
    timestamp: datetime.datetime | str | None = None,
    additional_fields: Any = None,
) -> dict[str, Any]:
    """An event as Netmera gets it; the arguments are those of :meth:`NetmeraClient.push_event`.

    :returns: the values by Netmera's names.
    :raises OptimoveInputError: naming every argument that is not valid; no value of a further field is shown.
    """
    problems: list[str] = []

    def read(name: str, check: Callable[[Any], Any], value: Any) -> Any:
        try:
            return check(value)
        except Unfit as unfit:
            problems.extend(unfit.under(name))

    number = read("event_type", _event_type_of, event_type)
    moment = datetime.datetime.now(datetime.UTC) if timestamp is None else timestamp
    event = {
        "eventTypeId": number,
        "timeStamp": read("timestamp", _utc_time, moment),
        "campaignId": read("campaign_id", _identifier, campaign_id),
        "channelId": read("channel_id", _identifier, channel_id),
    }
    if isinstance(additional_fields, Mapping):
        problems.extend(f"additional_fields: {problem}" for problem in _problems_of(additional_fields, number))
    elif additional_fields is not None:
        kind = "text" if isinstance(additional_fields, str) else type(additional_fields).__name__
        problems.append(f"additional_fields: expected an object with values by name, got {kind}")
    if problems:
        raise OptimoveInputError("the arguments are not valid", function=PUSH.name, problems=problems)
    return {**event, **(additional_fields or {})}


def named(event: Mapping[str, Any], *, with_time: bool = True) -> str:
    """What errors and the log call an event; nothing of a customer is in it.

    :param event: as :func:`checked_event` returns it.
    :param with_time: whether to tell its time, too.
    """
    name = f"event {event['eventTypeId']} of campaign {event['campaignId']} on channel {event['channelId']}"
    return f"{name}, {event['timeStamp']} UTC" if with_time else name


def json_of(event: Mapping[str, Any]) -> str:
    """An event as it is sent.

    :raises TypeError: it holds what JSON cannot.
    :raises ValueError: the same.
    """
    return json.dumps(event, ensure_ascii=False, allow_nan=False)


class NetmeraOperations:
    """What the client and the hook have in common: a method an operation."""

    @property
    def _speaker(self) -> NetmeraClient:
        raise NotImplementedError

    def push_event(
        self,
        event_type: int | str,
        campaign_id: int | str,
        channel_id: int | str,
        timestamp: datetime.datetime | str | None = None,
        additional_fields: Mapping[str, Any] | None = None,
    ) -> PushedEvent:
        """Have Netmera send the push notifications of a campaign, or drop those of one that was cancelled.

        Not harmless to repeat: it is sent again only where it was surely not taken.

        :param event_type: 4 or ``cancelled``, 11 or ``single``, 13 or ``bulk``; words in any letter case.
        :param campaign_id: Optimove's number of the campaign.
        :param channel_id: Optimove's number of the channel: 459 or 481, unless the account has another.
        :param timestamp: when it happened, converted to UTC; without a time zone it is UTC already. None: now.
        :param additional_fields: of event 11 only: the customer, and whatever else Optimove's event holds, by
            Optimove's names.
        :returns: what Netmera was told, without the additional fields.
        :raises OptimoveInputError: naming every argument that is not valid; nothing was sent.
        :raises NetmeraError: Netmera refused it, could not be reached, or nobody knows whether it took it
            (``may_have_happened``).
        """
        with self._speaker._translated():
            event = checked_event(event_type, campaign_id, channel_id, timestamp, additional_fields)
        return self._speaker.send(event)


class NetmeraClient(SystemClient[NetmeraSettings], NetmeraOperations):
    """Tells Netmera of an app's campaigns.

    :param settings: the app and how to reach Netmera.
    :param translate_error: applied to every error before it is raised.
    """

    @property
    def account(self) -> tuple[str, str]:
        """What tells this app from others: the address, and a digest of the app key; no secret."""
        return self.settings.http.base_url, hashlib.sha256(self.settings.app_key.encode()).hexdigest()

    @property
    def _speaker(self) -> NetmeraClient:
        return self

    def send(self, event: Mapping[str, Any], *, again: bool = False) -> PushedEvent:
        """Send an event that was checked before.

        :param event: as :func:`checked_event` returns it.
        :param again: whether to send it again also where it may have been taken, so that it may push twice.
        :raises NetmeraError: as of :meth:`push_event`.
        """
        if event["channelId"] not in CHANNELS:
            log.warning(
                "push_event: channel %s is none of those documented for Netmera, %s; it is sent as it is",
                *(event["channelId"], " and ".join(map(str, CHANNELS))),
            )
        if event["eventTypeId"] == SINGLE and len(event) == len(FIELDS):
            log.warning("push_event: event %d has no additional fields, so that it names no customer", SINGLE)
        request = HttpRequest(
            "POST",
            f"{ADDRESS}/{quote(self.settings.app_key, safe='')}",
            body=json_of(event).encode(),
            headers={API_KEY_HEADER: self.settings.api_key},
            shown=f"{ADDRESS}/{{app_key}}",
            status_decides=True,
        )
        operation = replace(PUSH, repeatable=True) if again else PUSH
        # Before it leaves: the worker may not live to say it afterwards.
        log.info("push_event: pushing %s", named(event))
        with self._translated():
            try:
                judge = partial(success_of, operation, error=NetmeraError)
                answer = self._exchange(PUSH.name, request, judge).answer
            except NetmeraError as error:
                if error.status == 404:
                    error.add("are the connection's host and app key right?")
                if error.may_have_happened:
                    error.add(f"it was {named(event)}")
                raise
        log.info("push_event: Netmera has %s", named(event))
        if explanation(answer.body).is_html:
            log.warning(
                "push_event: HTTP %s came with an HTML page: a firewall or proxy may have answered in Netmera's place."
                " The event counts as taken; look whether Netmera has it",
                answer.status,
            )
        return PushedEvent(
            event_type=event["eventTypeId"],
            campaign_id=event["campaignId"],
            channel_id=event["channelId"],
            timestamp=event["timeStamp"],
        )

    def reach(self) -> int:
        """See whether Netmera's server answers at all. The keys are not sent, and nothing is pushed.

        :returns: the HTTP status of the answer; most likely 404.
        :raises NetmeraError: it does not answer, or with 5xx.
        """

        def judge(outcome: HttpAnswer | ConnectionFailure) -> int:
            if isinstance(outcome, HttpAnswer) and outcome.status < 500:
                return outcome.status
            return success_of(REACH, outcome, NetmeraError).status

        with self._translated():
            status: int = self._exchange(REACH.name, HttpRequest("GET", ""), judge, reads=True).answer
        return status


def _event_type_of(value: Any) -> int:
    try:
        number = integer_value(_event_type, value)
    except Unfit:
        number = 0
    if number not in EVENT_TYPES.values():
        known = ", ".join(f"{number} or {name!r}" for name, number in EVENT_TYPES.items())
        raise Unfit(f"expected {known}; got {shown(value)}")
    return number


def _identifier(value: Any) -> int:
    return integer_value(Integer(), value)


def _problems_of(additional_fields: Mapping[Any, Any], event_type: int | None) -> Iterator[str]:
    if additional_fields and event_type in (CANCELLED, BULK):
        yield f"only event {SINGLE} ('single') has any, and this is {event_type}"
    taken = {name.lower() for name in FIELDS}
    for name, value in additional_fields.items():
        if not isinstance(name, str):
            yield f"expected text as a name, got {shown(name)}"
        elif name.lower() in taken:
            yield f"{shown(name)} is an argument of its own"
        elif not _fits_json({name: value}):
            yield f"{shown(name)} holds what JSON cannot"


def _fits_json(value: Any) -> bool:
    try:
        json_of(value).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True


__all__ = [
    "BULK",
    "CANCELLED",
    "CHANNELS",
    "EVENT_TYPES",
    "FIELDS",
    "PUSH",
    "SINGLE",
    "NetmeraClient",
    "NetmeraOperations",
    "NetmeraSettings",
    "PushedEvent",
    "checked_event",
    "json_of",
    "named",
]
