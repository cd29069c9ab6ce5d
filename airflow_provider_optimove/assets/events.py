"""An event of Optimove's, as its listener or a watcher took it in. No I/O."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from airflow_provider_optimove.exceptions import OptimoveInputError, OptimoveResponseError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

T = TypeVar("T")

EVENT_NAMES: Mapping[int, str] = MappingProxyType(
    {
        1: "campaign_processed",
        2: "all_campaigns_processed",
        3: "daily_process_completed",
        4: "campaign_cancelled",
        5: "campaign_on_hold",
        11: "campaign_triggered",
        13: "campaign_executed",
    }
)
"""The events that are known, by Optimove's number."""

EVENT_FIELDS: Mapping[int, tuple[str, ...]] = MappingProxyType(
    {
        1: ("timestamp", "campaign_id", "channel_id"),
        2: ("timestamp",),
        3: ("timestamp", "update_date"),
        4: ("timestamp", "campaign_id", "channel_id"),
        5: ("timestamp", "campaign_id", "channel_id", "campaign_duration", "clearance_required_by"),
        11: (
            "timestamp",
            "customer_id",
            "is_visitor",
            "action_id",
            "channel_id",
            "promo_codes",
            "template_id",
            "personalization",
        ),
        13: ("timestamp", "campaign_id", "channel_id"),
    }
)
"""The fields of the events that are known, as :class:`OptimoveEvent` names them."""

REQUIRED_FIELDS: Mapping[int, tuple[str, ...]] = MappingProxyType(
    {
        1: ("CampaignID",),
        4: ("CampaignID",),
        5: ("CampaignID", "ClearanceRequiredBy"),
        11: ("CustomerID",),
        13: ("CampaignID", "ChannelID"),
    }
)
"""Those that an event must have, as Optimove names them. :func:`key_of` needs a date of events 2 and 3."""

OF_A_CAMPAIGN = frozenset({1, 4, 5, 13})
OF_A_DAY = frozenset({2, 3})
OF_A_CUSTOMER = 11
COLLECTED = "collected"
"""The partition that all events of customers belong to, where a schedule collects them."""
LARGEST_EVENT_TYPE = 99
LARGEST_INTEGER = 2**63 - 1

_NUMBERS = {name: number for number, name in EVENT_NAMES.items()}
_DIGITS = re.compile("[0-9]{1,18}")
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


def event_type_of(value: object) -> int:
    """The number of an event type.

    :param value: its number from 1 to 99, text of one, or one of the names in :data:`EVENT_NAMES`, in any letter case.
    :raises OptimoveInputError: it is none of these.
    """
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if isinstance(value, str):
        word = value.strip().lower()
        number = int(word) if _DIGITS.fullmatch(word) else _NUMBERS.get(word)
    if number is None or not 1 <= number <= LARGEST_EVENT_TYPE:
        names = ", ".join(f"{name} ({known})" for known, name in EVENT_NAMES.items())
        raise OptimoveInputError(
            f"event_type: {value!r} is no event; give one of {names}, or a number from 1 to {LARGEST_EVENT_TYPE}"
        )
    return number


def event_word(event_type: int) -> str:
    """The name of an event type; ``event_<number>`` where it has none."""
    return EVENT_NAMES.get(event_type, f"event_{event_type}")


def asset_of(event_type: int, conn_id: str) -> tuple[str, str]:
    """Name and URI of the asset that the events of a type and a connection are events of."""
    word = event_word(event_type)
    return f"optimove_event/{conn_id}/{word}", f"optimove://event/{quote(conn_id, safe='')}/{word}"


@dataclass(frozen=True)
class OptimoveEvent:
    """An event, with its fields as what they are. Letter case of the payload's keys does not matter.

    A field that the event does not have is None, and so is one that is empty, unless it is text. One that is there and
    is not what it should be raises :class:`OptimoveResponseError`, which names it and does not show its value.

    ``payload`` is the event as Optimove sent it.
    """

    payload: Mapping[str, Any] = field(repr=False)
    told_type: int | None = field(default=None, repr=False)

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any], event_type: int | None = None) -> OptimoveEvent:
        """An event out of the object that Optimove sent.

        :param payload: the object.
        :param event_type: its type, where the payload does not say; Optimove leaves it out of event 11.
        :raises OptimoveInputError: ``payload`` is no object.
        """
        if not isinstance(payload, Mapping):
            raise OptimoveInputError(f"an event is an object, got {type(payload).__name__}")
        return cls(payload, event_type)

    @classmethod
    def from_context(cls, context: Context | Mapping[str, Any]) -> OptimoveEvent:
        """The event that started a run.

        :param context: the context of a task, as ``get_current_context()`` gives it.
        :raises OptimoveInputError: no event started the run, or several did.
        """
        # A retry finds the same events.
        from airflow_provider_optimove.hooks.task_errors import permanent_errors_end_the_task

        events = cls.all_from_context(context)
        with permanent_errors_end_the_task():
            if len(events) > 1:
                raise OptimoveInputError(
                    f"{len(events)} events started this run: OptimoveEvent.all_from_context(context) gives all of them"
                )
            if not events:
                raise OptimoveInputError(f"no event of Optimove's started this run, but {_what_started(context)}")
        return events[0]

    @classmethod
    def all_from_context(cls, context: Context | Mapping[str, Any]) -> list[OptimoveEvent]:
        """The events that started a run, in the order of their arrival, which is the same for all tries of a task; none
        where something else started it.

        :param context: the context of a task, as ``get_current_context()`` gives it.
        """
        started = context.get("triggering_asset_events") or {}
        # An event of an aliased asset is listed with each of its names.
        events = {id(event): event for of_an_asset in started.values() for event in of_an_asset}
        found = [_out_of_extra(event.extra) for event in sorted(events.values(), key=_place_of)]
        return [event for event in found if event]

    @property
    def event_type(self) -> int | None:
        """Optimove's number of the event; None for one that a watcher found."""
        told = self._read("EventTypeID", _whole)
        if told is not None or self.told_type is not None:
            return self.told_type if told is None else told
        return None if self.customer_id is None else OF_A_CUSTOMER

    @property
    def name(self) -> str | None:
        """The event's name, one of :data:`EVENT_NAMES`; None where its type is not known."""
        return EVENT_NAMES.get(self.event_type or 0)

    @property
    def campaign_id(self) -> int | None:
        """The campaign."""
        return self._read("CampaignID", _whole)

    @property
    def channel_id(self) -> int | None:
        """The channel."""
        return self._read("ChannelID", _whole)

    @property
    def template_id(self) -> int | None:
        """The template (event 11)."""
        return self._read("TemplateID", _whole)

    @property
    def action_id(self) -> int | None:
        """The action (event 11)."""
        return self._read("ActionID", _whole)

    @property
    def campaign_duration(self) -> int | None:
        """The days that the campaign lasts (event 5)."""
        return self._read("CampaignDuration", _whole)

    @property
    def timestamp(self) -> datetime | None:
        """When it happened, in UTC."""
        return self._read("TimeStamp", _moment)

    @property
    def clearance_required_by(self) -> datetime | None:
        """Until when the campaign is on hold, in UTC (event 5)."""
        return self._read("ClearanceRequiredBy", _moment)

    @property
    def update_date(self) -> date | None:
        """The date of the newest data (event 3)."""
        return self._read("UpdateDate", _day)

    @property
    def customer_id(self) -> str | None:
        """The customer (event 11)."""
        return self._read("CustomerID", _text)

    @property
    def is_visitor(self) -> bool | None:
        """Whether the customer is one that Optimove knows from visits only (event 11)."""
        return self._read("IsVisitor", _yes_or_no)

    @property
    def promo_codes(self) -> tuple[str, ...]:
        """The promo codes (event 11)."""
        return self._read("PromoCode", _texts) or ()

    @property
    def personalization(self) -> Mapping[str, Any]:
        """The personalization (event 11): values by tag or parameter, by what they are about."""
        return self._read("Personalization", _object) or {}

    def check(self) -> None:
        """Read the fields of an event of this type; of a type that is not known there are none.

        :raises OptimoveResponseError: one is not what it should be, or one that it must have is missing.
        """
        event_type = self.event_type or 0
        for accessor in EVENT_FIELDS.get(event_type, ()):
            getattr(self, accessor)
        for name in REQUIRED_FIELDS.get(event_type, ()):
            if not [value for value in self._values.get(name.lower(), ()) if value != ""]:
                raise OptimoveResponseError(f"{name}: missing")

    @cached_property
    def _values(self) -> Mapping[str, list[Any]]:
        """What there is by each key in lower case; an event has few fields, but a body can have thousands."""
        found: dict[str, list[Any]] = {}
        for key, value in self.payload.items():
            if value is not None:
                found.setdefault(str(key).lower(), []).append(value)
        return found

    def _read(self, name: str, convert: Callable[[Any], T]) -> T | None:
        values = self._values.get(name.lower(), [])
        if convert is not _text:
            values = [value for value in values if value != ""]
        if not values:
            return None
        if any(value != values[0] for value in values):
            raise OptimoveResponseError(f"{name}: there twice in the event, with different values")
        try:
            return convert(values[0])
        except (ValueError, OverflowError) as error:
            # The value may be a customer's.
            raise OptimoveResponseError(f"{name}: expected {error}, got {_kind(values[0])}") from None

    def __repr__(self) -> str:
        shown = []
        for name in ("event_type", "campaign_id", "channel_id", "timestamp"):
            try:
                value = getattr(self, name)
            except OptimoveResponseError:
                value = "?"
            if value is not None:
                shown.append(f"{name}={value}")
        return f"OptimoveEvent({', '.join(shown)})"


def key_of(event: OptimoveEvent) -> str:
    """What makes two deliveries the same event.

    :returns: at most 200 characters.
    :raises OptimoveResponseError: a field that tells is missing or is not what it should be.
    """
    event_type = event.event_type
    if event_type is None:
        raise OptimoveResponseError("EventTypeID: missing")
    word = event_word(event_type)
    if event_type in OF_A_CAMPAIGN:
        channel = event.channel_id
        return f"{word}/{_needed(event.campaign_id, 'CampaignID')}/{'-' if channel is None else channel}"
    if event_type in OF_A_DAY:
        day = event.update_date if event_type == _NUMBERS["daily_process_completed"] else None
        return f"{word}/{day or _needed(event.timestamp, 'TimeStamp').date()}"
    canonical = json.dumps(event.payload, sort_keys=True, separators=(",", ":"))
    return f"{word}/{hashlib.sha256(canonical.encode()).hexdigest()[:32]}"


def _place_of(event: Any) -> tuple[Any, str]:
    """Where the event of an asset stands among others: of one moment, too, in whatever order the database has them."""
    return event.timestamp, json.dumps(event.extra, sort_keys=True, default=str)


def _out_of_extra(extra: Any) -> OptimoveEvent | None:
    """The event in the extra of an asset's event; None where that is not about one."""
    payload = extra.get("payload") if isinstance(extra, Mapping) else None
    if not isinstance(payload, Mapping):
        return None
    if isinstance(extra.get("event_type"), int):
        return OptimoveEvent(payload, extra["event_type"])
    of_a_campaign = any(str(key).lower() == "campaignid" for key in payload)
    return OptimoveEvent(payload) if extra.get("from_trigger") and of_a_campaign else None


def _what_started(context: Context | Mapping[str, Any]) -> str:
    if started := context.get("triggering_asset_events"):
        return "events of " + ", ".join(sorted(str(getattr(asset, "name", asset)) for asset in started))
    run_type = getattr(context.get("dag_run"), "run_type", None)
    return f"its type is {getattr(run_type, 'value', run_type)}"


def _needed(value: T | None, name: str) -> T:
    if value is None:
        raise OptimoveResponseError(f"{name}: missing")
    return value


# A value as what it should be; else a ValueError that says what that is.


def _whole(value: Any) -> int:
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_INTEGER:
        return value
    raise ValueError("a whole number of 0 or more")


def _moment(value: Any) -> datetime:
    try:
        if isinstance(value, str) and len(value.strip()) > len("YYYY-MM-DD"):
            moment = datetime.fromisoformat(value.strip())
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("a time, YYYY-MM-DD HH:MM:SS")


def _day(value: Any) -> date:
    try:
        if isinstance(value, str) and _DATE.match(value.strip()):
            return datetime.fromisoformat(value.strip()).date()
    except ValueError:
        pass
    raise ValueError("a date, YYYY-MM-DD")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError("text or a number")


def _texts(value: Any) -> tuple[str, ...]:
    try:
        return tuple(map(_text, value if isinstance(value, list) else [value]))
    except ValueError:
        raise ValueError("text, a number, or a list of them") from None


def _yes_or_no(value: Any) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if word in ("true", "1", 1):
        return True
    if word in ("false", "0", 0):
        return False
    raise ValueError("true or false")


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise ValueError("an object")


def _kind(value: Any) -> str:
    return "other text" if isinstance(value, str) else type(value).__name__
