"""A Netmera on localhost: takes the events that ask it to send push notifications."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import unquote

from airflow_provider_optimove.sandbox.serving import Received, Refused, Reply, SystemStandIn, same

PUSH_EVENT = "push_event"
PATH = "/rest/optimove/event/"
CANCELLED, SINGLE_TARGET, BULK = 4, 11, 13
FIELDS: Mapping[str, type] = {"eventTypeId": int, "timeStamp": str, "campaignId": int, "channelId": int}
TIME = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)


class NetmeraSandbox(SystemStandIn):
    """A Netmera on localhost, to try things out and for tests. A context manager, or ``start()`` and ``stop()``.

    Its one operation is ``push_event``. ``pushes`` holds the events that were taken, as they came, in their order;
    ``channels`` are the ChannelIDs that it sends on, and may be set at any time.

    :param port: port on 127.0.0.1; 0 takes a free one.
    :param app_key: the app's key, which stands in the URL.
    :param api_key: the REST key it accepts.
    """

    def __init__(self, *, port: int = 0, app_key: str = "sandbox-app-key", api_key: str = "sandbox-key") -> None:
        super().__init__(port)
        self.app_key = app_key
        self.api_key = api_key
        self.pushes: list[dict[str, Any]] = []
        self.channels: Collection[int] = (459, 481)

    @property
    def connection(self) -> str:
        """The Airflow connection, as JSON for ``AIRFLOW_CONN_NETMERA_DEFAULT``."""
        fields = {"conn_type": "netmera", "host": self.url, "login": self.app_key, "password": self.api_key}
        return json.dumps(fields)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What the record of calls does not hold: both keys."""
        return (self.app_key, self.api_key)

    def _function_of(self, received: Received) -> str | None:
        key = received.path.removeprefix(PATH)
        return PUSH_EVENT if key != received.path and "/" not in key else None

    def _answer(self, function: str, received: Received) -> Reply:
        if received.verb != "POST":
            raise Refused(f"an event is sent with POST, not {received.verb}", 405)
        if not same(unquote(received.path.removeprefix(PATH)), self.app_key):
            raise Refused("Unauthorized: there is no app with this key", 401)
        if not same(received.headers.get("X-netmera-api-key", ""), self.api_key):
            raise Refused("Unauthorized: the X-netmera-api-key is not valid", 401)
        if received.headers.get_content_type() != "application/json":
            raise Refused("the Content-Type must be application/json", 415)
        event = self._event(received.body)
        with self.lock:
            self.pushes.append(event)
        return Reply()

    def _event(self, body: bytes) -> dict[str, Any]:
        try:
            event = json.loads(body)
        except ValueError:
            raise Refused("the body is not valid JSON") from None
        if not isinstance(event, dict):
            raise Refused("the body must be a JSON object")
        for name, kind in FIELDS.items():
            if name not in event:
                raise Refused(f"{name} is needed")
            # Python's bool is an int, JSON's is none.
            if type(event[name]) is not kind:
                raise Refused(f"{name} must be {'a whole number' if kind is int else 'a text'}")
        if event["eventTypeId"] not in (CANCELLED, SINGLE_TARGET, BULK):
            raise Refused(f"eventTypeId must be {CANCELLED}, {SINGLE_TARGET} or {BULK}, not {event['eventTypeId']}")
        if not _is_time(event["timeStamp"]):
            raise Refused("timeStamp must be a time as YYYY-MM-DD HH:MM:SS")
        if event["channelId"] not in self.channels:
            known = " or ".join(map(str, self.channels))
            raise Refused(f"channelId must be {known}, not {event['channelId']}")
        further = [name for name in event if name not in FIELDS]
        if further and event["eventTypeId"] != SINGLE_TARGET:
            raise Refused(f"eventTypeId {event['eventTypeId']} has no further fields: {', '.join(further)}")
        return event


def _is_time(text: str) -> bool:
    try:
        return bool(TIME.fullmatch(text) and datetime.datetime.fromisoformat(text))
    except ValueError:
        return False
