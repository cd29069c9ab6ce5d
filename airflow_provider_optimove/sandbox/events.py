"""Events: what Optimove posts to the listeners that are registered for them."""

from __future__ import annotations

import datetime
import ipaddress
import json
import string
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from airflow_provider_optimove.sandbox.account import Account, Listener
from airflow_provider_optimove.sandbox.world import LONGEST_DURATION, Campaign, customer_id

PROCESSED, ALL_CAMPAIGNS_PROCESSED, DAILY_PROCESS_COMPLETED, CANCELLED, ON_HOLD = 1, 2, 3, 4, 5
TRIGGERED, EXECUTED = 11, 13
EVENT_TYPES = range(1, 100)
WITH_CAMPAIGN = (PROCESSED, CANCELLED, ON_HOLD, TRIGGERED, EXECUTED)
# In the payload; a listener can be registered for a channel all the same. That of a triggered one stands there already.
WITHOUT_CHANNEL = (PROCESSED, ALL_CAMPAIGNS_PROCESSED, DAILY_PROCESS_COMPLETED, CANCELLED, ON_HOLD, TRIGGERED)
DAYS_SEARCHED = 7
HOLD = datetime.timedelta(hours=1)
LONGEST_WAIT = 30.0
LONGEST_ANSWER = 200


@dataclass(frozen=True)
class Delivery:
    """An event at one listener.

    :param event_type: its EventTypeID.
    :param url: where it was posted to, without user-info and the values of the query.
    :param status: HTTP status of the answer; None when none came.
    :param answer: what the answer says, or why none came; at most 200 characters.
    :param seconds: until the answer was there.
    """

    event_type: int
    url: str
    status: int | None
    answer: str
    seconds: float


@dataclass(frozen=True)
class Event:
    """An event that happens.

    :param event_type: its EventTypeID.
    :param payload: what is posted.
    :param channels: which channels it is about; empty: none in particular.
    """

    event_type: int
    payload: Mapping[str, Any]
    channels: Collection[int]

    def concerns(self, listener: Listener) -> bool:
        """Whether it is posted to a listener."""
        heard = listener.channel_id is None or not self.channels or listener.channel_id in self.channels
        return heard and listener.event_type_id == self.event_type


def event_of(
    account: Account,
    event_type: int,
    *,
    campaign_id: int | None,
    channel_id: int | None,
    fields: Mapping[str, Any],
    turn: int,
) -> Event:
    """An event that fits the account, as Optimove's documents show it.

    :param campaign_id: None: the newest one that the event fits, if the type has a campaign.
    :param channel_id: None: one of the campaign's, if there is one that a listener is registered for.
    :param fields: other values by name, in any letter case, and further fields.
    :param turn: whose turn it is among the campaign's customers, for events about one of them.
    :raises ValueError: there is no such campaign, or it is not known what the event needs of it.
    """
    if event_type not in EVENT_TYPES:
        raise ValueError(f"there is no event {event_type!r}; expected {EVENT_TYPES[0]} to {EVENT_TYPES[-1]}")
    campaign = None if campaign_id is None else account.world.campaign(campaign_id)
    if campaign_id is None and event_type in WITH_CAMPAIGN:
        campaign = _newest_campaign(account, event_type, channel_id)
        campaign_id = campaign.number
    channels = campaign.kind.channels if campaign and channel_id is None else (channel_id,)
    if event_type in (TRIGGERED, EXECUTED):
        channel_id = min(channels, key=lambda channel: not _is_heard(account, event_type, channel))
        channels = (channel_id,)
    moment = account.now
    payload: dict[str, Any] = {"EventTypeID": event_type, "TimeStamp": _text(moment)}
    if event_type == TRIGGERED:
        payload = _triggered(account, campaign, channel_id, moment, turn)
    elif event_type == EXECUTED and channel_id is None:
        raise ValueError(f"campaign {campaign_id} is not known here: name its channel too")
    elif event_type == DAILY_PROCESS_COMPLETED:
        payload["UpdateDate"] = account.last_data_update.isoformat()
    elif campaign_id is not None and event_type != ALL_CAMPAIGNS_PROCESSED:
        payload["CampaignID"] = campaign_id
    if event_type == ON_HOLD:
        payload["CampaignDuration"] = campaign.duration if campaign else LONGEST_DURATION
        payload["ClearanceRequiredBy"] = _text(moment + HOLD)
    if channel_id is not None and event_type not in WITHOUT_CHANNEL:
        payload["ChannelID"] = channel_id
    names = {name.lower(): name for name in payload}
    payload |= {names.get(name.lower(), name): value for name, value in fields.items()}
    return Event(event_type, payload, {channel for channel in channels if channel is not None})


def drifted_event(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A payload in the other letter case, with ids as text and promo codes as a list."""

    def value_of(name: str, value: Any) -> Any:
        if name == "promoCode":
            return [value]
        return str(value) if name.endswith("ID") and isinstance(value, int) else value

    return {
        f"{name[0].swapcase()}{name[1:]}".replace("ID", "Id"): value_of(name, value) for name, value in payload.items()
    }


def check_addresses(urls: Iterable[str]) -> None:
    """Only listeners of this machine get events: what is made up here must not reach a real system.

    :raises ValueError: an address is elsewhere.
    """
    for url in urls:
        try:
            parts = urlsplit(url)
            _ = parts.port
            here = _is_this_machine(parts.hostname or "")
        except ValueError:
            here = False
        if not here:
            raise ValueError(f"{shown_url(url)} is registered, and events go to listeners of this machine only")


def post_event(event: Event, payload: Mapping[str, Any], url: str) -> Delivery:
    """Post an event to one listener. Whatever becomes of it, it is told in what comes back."""
    parts = urlsplit(url)
    made = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = made(parts.hostname or "", parts.port, timeout=LONGEST_WAIT)
    status, began = None, time.monotonic()
    try:
        content = json.dumps(payload, ensure_ascii=False).encode()
        connection.request("POST", _target(parts), content, {"Content-Type": "application/json; charset=utf-8"})
        response = connection.getresponse()
        answer = response.read(LONGEST_ANSWER).decode(errors="replace")
        status = response.status
    except (OSError, HTTPException) as error:
        answer = (str(error) or type(error).__name__)[:LONGEST_ANSWER]
    finally:
        connection.close()
    return Delivery(event.event_type, shown_url(url), status, answer, time.monotonic() - began)


def shown_url(url: str) -> str:
    """A listener's address without user-info and the values of the query: they may be secrets."""
    address, _, query = url.partition("#")[0].partition("?")
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    values = "&".join(f"{pair.partition('=')[0]}=***" if "=" in pair else "***" for pair in query.split("&"))
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}{f'?{values}' if query else ''}"


def _newest_campaign(account: Account, event_type: int, channel_id: int | None) -> Campaign:
    def fits(campaign: Campaign) -> bool:
        kind = campaign.kind
        if channel_id not in (None, *kind.channels):
            return False
        if event_type == CANCELLED:
            return kind.canceled
        wanted = {ON_HOLD: kind.promotion, TRIGGERED: kind.realtime}
        return campaign.executed and wanted.get(event_type, True)

    days = (account.today - datetime.timedelta(days=days) for days in range(DAYS_SEARCHED))
    found = [campaign for day in days for campaign in account.world.campaigns(day) if fits(campaign)]
    if not found:
        raise ValueError(f"no campaign of the last days fits event {event_type} on channel {channel_id}: name one")
    heard = (c for c in found if any(_is_heard(account, event_type, channel) for channel in c.kind.channels))
    return next(heard, found[0])


def _is_heard(account: Account, event_type: int, channel: int | None) -> bool:
    return any(
        listener.event_type_id == event_type and listener.channel_id in (None, channel)
        for listener in account.listeners
    )


def _triggered(
    account: Account, campaign: Campaign | None, channel: int | None, moment: datetime.datetime, turn: int
) -> dict[str, Any]:
    if campaign is None or channel is None or not (members := account.world.members(campaign)):
        raise ValueError("a triggered campaign is about one of its customers: name a campaign that has some here")
    place = turn % len(members)
    group = campaign.group_of_place(place) or 1
    first_name = account.world.attributes["firstname"].value(members[place])
    return {
        "customerID": customer_id(members[place]),
        "isVisitor": False,
        "actionID": campaign.action(group),
        "channelID": channel,
        "promoCode": campaign.promo_code(group),
        "templateID": campaign.template(channel, group),
        "TimeStamp": _text(moment),
        "personalization": {"personalInfo": {"FirstName": first_name}},
    }


def _text(moment: datetime.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _target(parts: SplitResult) -> str:
    return quote(f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}", safe=string.punctuation)
