"""Every event of Optimove's guide, and what comes of fields that are not as it says."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from datetime import UTC
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_optimove.assets.events import (
    EVENT_FIELDS,
    EVENT_NAMES,
    REQUIRED_FIELDS,
    OptimoveEvent,
    asset_of,
    event_type_of,
    event_word,
    key_of,
)
from airflow_provider_optimove.exceptions import OptimoveInputError, OptimoveResponseError

AT = "2026-11-20 06:30:00"
MOMENT = datetime.datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
TRIGGERED: dict[str, Any] = {
    "customerID": "C0000017",
    "isVisitor": False,
    "actionID": 3,
    "channelID": 506,
    "promoCode": "WELCOME",
    "templateID": 7,
    "TimeStamp": AT,
    "personalization": {"personalInfo": {"FirstName": "Ann"}, "deposit": {"amount": "12"}},
}
# As the guide shows them; what their fields are, and their keys.
GUIDE: list[tuple[int, dict[str, Any], dict[str, Any], str]] = [
    (
        1,
        {"EventTypeID": 1, "TimeStamp": AT, "CampaignID": 6577},
        {"name": "campaign_processed", "campaign_id": 6577, "channel_id": None},
        "campaign_processed/6577/-",
    ),
    (
        2,
        {"EventTypeID": 2, "TimeStamp": AT},
        {"name": "all_campaigns_processed", "campaign_id": None},
        "all_campaigns_processed/2026-11-20",
    ),
    (
        3,
        {"EventTypeID": 3, "TimeStamp": AT, "UpdateDate": "2026-11-19"},
        {"name": "daily_process_completed", "update_date": datetime.date(2026, 11, 19)},
        "daily_process_completed/2026-11-19",
    ),
    (
        4,
        {"EventTypeID": 4, "TimeStamp": AT, "CampaignID": 6577},
        {"name": "campaign_cancelled", "campaign_id": 6577},
        "campaign_cancelled/6577/-",
    ),
    (
        5,
        {
            "EventTypeID": 5,
            "TimeStamp": AT,
            "CampaignID": 6577,
            "CampaignDuration": 7,
            "ClearanceRequiredBy": "2026-11-20 09:00:00",
        },
        {
            "name": "campaign_on_hold",
            "campaign_duration": 7,
            "clearance_required_by": MOMENT.replace(hour=9, minute=0),
        },
        "campaign_on_hold/6577/-",
    ),
    (
        11,
        TRIGGERED,
        {
            "name": "campaign_triggered",
            "customer_id": "C0000017",
            "is_visitor": False,
            "action_id": 3,
            "channel_id": 506,
            "promo_codes": ("WELCOME",),
            "template_id": 7,
            "personalization": TRIGGERED["personalization"],
        },
        "",
    ),
    (
        13,
        {"EventTypeID": 13, "TimeStamp": AT, "CampaignID": 6577, "ChannelID": 504},
        {"name": "campaign_executed", "campaign_id": 6577, "channel_id": 504},
        "campaign_executed/6577/504",
    ),
]
FIELDS = {
    "CampaignID": "campaign_id",
    "ChannelID": "channel_id",
    "TemplateID": "template_id",
    "ActionID": "action_id",
    "CampaignDuration": "campaign_duration",
    "TimeStamp": "timestamp",
    "ClearanceRequiredBy": "clearance_required_by",
    "UpdateDate": "update_date",
    "CustomerID": "customer_id",
    "IsVisitor": "is_visitor",
    "PromoCode": "promo_codes",
    "Personalization": "personalization",
    "EventTypeID": "event_type",
}
NOTHING: dict[str, Any] = {"promo_codes": (), "personalization": {}}
NUMBERS = ["CampaignID", "ChannelID", "TemplateID", "ActionID", "CampaignDuration", "EventTypeID"]
TIMES = ["TimeStamp", "ClearanceRequiredBy"]
GOOD: list[tuple[str, Any, Any]] = [
    *((name, "42", 42) for name in NUMBERS),
    *((name, " 42 ", 42) for name in NUMBERS),
    *((name, 0, 0) for name in NUMBERS),
    *((name, "2026-11-20T06:30:00Z", MOMENT) for name in TIMES),
    *((name, "2026-11-20T08:30:00+02:00", MOMENT) for name in TIMES),
    *((name, f" {AT} ", MOMENT) for name in TIMES),
    *((name, "2026-11-20 06:30:00.25", MOMENT.replace(microsecond=250_000)) for name in TIMES),
    ("UpdateDate", "2026-11-19 00:00:00", datetime.date(2026, 11, 19)),
    ("CustomerID", 17, "17"),
    ("IsVisitor", "True", True),
    ("IsVisitor", 0, False),
    ("PromoCode", 50, ("50",)),
    ("PromoCode", ["A", 7], ("A", "7")),
    ("PromoCode", [], ()),
]
LONG_AGO = "0001-01-01T00:00:00+14:00"
BAD_OF: dict[str, list[Any]] = {
    **{name: [True, "x1", "1.5", 1.5, -1, "-1", 2**63, "9" * 19, [1], {}] for name in NUMBERS},
    **{name: [1, "today", "2026-11-20", "2026-13-20 00:00:00", LONG_AGO, [], True] for name in TIMES},
    "UpdateDate": [1, "20.11.2026", "2026-11-31", [], True],
    "CustomerID": [True, 1.5, ["C1"], {}],
    "IsVisitor": ["yes", 2, [True], {}],
    "PromoCode": [True, 1.5, {}, [["A"]], [None]],
    "Personalization": ["x", 1, [], True],
}
BAD = [(name, value) for name, values in BAD_OF.items() for value in values]


@pytest.mark.parametrize(("number", "payload", "fields", "key"), GUIDE, ids=[str(number) for number, *_ in GUIDE])
def test_an_event_of_the_guide(number: int, payload: dict[str, Any], fields: dict[str, Any], key: str) -> None:
    event = OptimoveEvent.from_payload(payload)
    event.check()
    assert event.event_type == number
    assert event.timestamp == MOMENT
    assert {name: getattr(event, name) for name in fields} == fields
    assert event.payload is payload
    if number == 11:
        assert key_of(event).startswith("campaign_triggered/")
    else:
        assert key_of(event) == key


@pytest.mark.parametrize(("number", "payload", "fields", "key"), GUIDE, ids=[str(number) for number, *_ in GUIDE])
@pytest.mark.parametrize("cased", [str.lower, str.upper, str.swapcase])
def test_letter_case_of_keys_does_not_matter(
    cased: Any, number: int, payload: dict[str, Any], fields: dict[str, Any], key: str
) -> None:
    event = OptimoveEvent.from_payload({cased(name): value for name, value in payload.items()})
    assert event.event_type == number
    assert {name: getattr(event, name) for name in fields} == fields
    if number != 11:
        assert key_of(event) == key


@pytest.mark.parametrize(("name", "accessor"), FIELDS.items())
@pytest.mark.parametrize("fields", [0, 1, 2], ids=["missing", "null", "empty"])
def test_a_field_that_is_not_there(name: str, accessor: str, fields: int) -> None:
    payloads: list[dict[str, Any]] = [{}, {name: None}, {name: ""}]
    event = OptimoveEvent.from_payload(payloads[fields])
    if (name, fields) == ("CustomerID", 2):
        assert event.customer_id == ""
        return
    assert getattr(event, accessor) == NOTHING.get(accessor)


@pytest.mark.parametrize(("name", "value", "read"), GOOD)
def test_other_forms_of_a_value(name: str, value: Any, read: Any) -> None:
    event = OptimoveEvent.from_payload({name: value})
    assert getattr(event, FIELDS[name]) == read
    assert type(getattr(event, FIELDS[name])) is type(read)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_value_that_is_not_what_it_should_be(name: str, value: Any) -> None:
    event = OptimoveEvent.from_payload({name: value})
    with pytest.raises(OptimoveResponseError, match=f"^{name}: expected .+, got ") as caught:
        getattr(event, FIELDS[name])
    assert repr(event).startswith("OptimoveEvent(")
    for shown in (str(caught.value), repr(event)):
        assert "today" not in shown
        assert "C1" not in shown


@pytest.mark.parametrize(("number", "payload"), [(number, payload) for number, payload, *_ in GUIDE])
def test_an_event_is_checked_for_what_is_its_own(number: int, payload: dict[str, Any]) -> None:
    for name, value in dict(BAD).items():
        event = OptimoveEvent.from_payload(
            {key: payload[key] for key in payload if key.lower() != name.lower()}, number
        )
        broken = OptimoveEvent.from_payload({**event.payload, name: value}, number)
        if FIELDS[name] in (*EVENT_FIELDS[number], "event_type"):
            with pytest.raises(OptimoveResponseError, match=f"^{name}: expected"):
                broken.check()
        else:
            broken.check()
        for absent in (event, *(OptimoveEvent.from_payload({**event.payload, name: no}, number) for no in (None, ""))):
            if name in REQUIRED_FIELDS.get(number, ()):
                with pytest.raises(OptimoveResponseError, match=f"^{name}: missing"):
                    absent.check()
            else:
                absent.check()


def test_an_event_of_an_unknown_type_has_no_fields() -> None:
    event = OptimoveEvent.from_payload({name: value for name, value in BAD if name != "EventTypeID"}, 42)
    event.check()
    assert key_of(event).startswith("event_42/")


def test_fields_are_those_that_can_be_read() -> None:
    assert EVENT_FIELDS.keys() == EVENT_NAMES.keys()
    assert {name for names in EVENT_FIELDS.values() for name in names} == {*FIELDS.values()} - {"event_type"}
    for number, names in REQUIRED_FIELDS.items():
        assert {FIELDS[name] for name in names} <= {*EVENT_FIELDS[number]}


def test_every_accessor_was_tried() -> None:
    accessors = {name for name, found in vars(OptimoveEvent).items() if isinstance(found, property)}
    assert accessors == {*FIELDS.values(), "name"}
    assert {name for name, _ in BAD} == set(FIELDS)


def test_a_key_that_is_there_in_two_letter_cases() -> None:
    same = OptimoveEvent.from_payload({"CampaignID": 1, "campaignId": 1, "CAMPAIGNID": None})
    assert same.campaign_id == 1
    with pytest.raises(OptimoveResponseError, match=r"^CampaignID: there twice"):
        _ = OptimoveEvent.from_payload({"CampaignID": 1, "campaignId": 2}).campaign_id


def test_the_type_that_the_payload_does_not_tell() -> None:
    told = OptimoveEvent.from_payload({"CampaignID": 1}, 4)
    assert (told.event_type, told.name, key_of(told)) == (4, "campaign_cancelled", "campaign_cancelled/1/-")
    assert OptimoveEvent.from_payload({"EventTypeID": 5}, 4).event_type == 5
    assert OptimoveEvent.from_payload({"customerid": "C1"}).event_type == 11
    assert OptimoveEvent.from_payload({"CampaignID": 1}).event_type is None
    unknown = OptimoveEvent.from_payload({"CampaignID": 1}, 42)
    assert (unknown.event_type, unknown.name) == (42, None)


def test_a_payload_is_an_object() -> None:
    with pytest.raises(OptimoveInputError, match="an event is an object, got list"):
        OptimoveEvent.from_payload([1])  # type: ignore[arg-type]


def test_nothing_of_a_customer_is_shown() -> None:
    event = OptimoveEvent.from_payload({**TRIGGERED, "CampaignID": 6577})
    shown = "event_type=11, campaign_id=6577, channel_id=506, timestamp=2026-11-20 06:30:00+00:00"
    assert repr(event) == str(event) == f"OptimoveEvent({shown})"


@pytest.mark.parametrize(
    ("value", "number"),
    [(13, 13), ("13", 13), (" 13 ", 13), ("campaign_executed", 13), ("Campaign_Executed ", 13), (1, 1), (99, 99)],
)
def test_event_types(value: object, number: int) -> None:
    assert event_type_of(value) == number


@pytest.mark.parametrize("value", [0, 100, -1, "0", "100", "", "event", True, None, 1.0, [], "9" * 30, "\u0661"])
def test_what_is_no_event_type(value: object) -> None:
    with pytest.raises(OptimoveInputError, match=r"campaign_processed \(1\), .*campaign_executed \(13\)"):
        event_type_of(value)


def test_words_and_assets() -> None:
    assert [event_word(number) for number in EVENT_NAMES] == list(EVENT_NAMES.values())
    assert event_word(42) == "event_42"
    assert asset_of(13, "mine") == ("optimove_event/mine/campaign_executed", "optimove://event/mine/campaign_executed")
    assert asset_of(42, "a/b c")[1] == "optimove://event/a%2Fb%20c/event_42"


# The same event


@pytest.mark.parametrize("number", [1, 4, 5, 13])
def test_same_events_of_a_campaign(number: int) -> None:
    def key(**fields: Any) -> str:
        return key_of(OptimoveEvent.from_payload({"TimeStamp": AT, "CampaignID": 6577, **fields}, number))

    assert key() == key(TimeStamp="2026-11-20 06:30:09") == key(CampaignID="6577") == key(Other=1)
    assert len({key(), key(CampaignID=6578), key(ChannelID=504), key(ChannelID=505)}) == 4
    assert key(ChannelID=0) != key()
    with pytest.raises(OptimoveResponseError, match=r"^CampaignID: missing"):
        key(CampaignID=None)
    with pytest.raises(OptimoveResponseError, match=r"^ChannelID: expected"):
        key(ChannelID="mail")


def test_same_events_of_a_day() -> None:
    def key(number: int, **fields: Any) -> str:
        return key_of(OptimoveEvent.from_payload({"TimeStamp": AT, **fields}, number))

    assert key(2) == key(2, TimeStamp="2026-11-20 23:59:59") == key(2, UpdateDate="2026-11-19")
    assert key(2) != key(2, TimeStamp="2026-11-21 00:00:00")
    assert key(3) == key(3, UpdateDate="2026-11-20")
    assert key(3, UpdateDate="2026-11-19") == key(3, UpdateDate="2026-11-19", TimeStamp=None)
    assert key(3, UpdateDate="2026-11-19") != key(3)
    for number in (2, 3):
        with pytest.raises(OptimoveResponseError, match=r"^TimeStamp: missing"):
            key(number, TimeStamp=None)


@pytest.mark.parametrize("number", [11, 42])
def test_same_events_of_other_types(number: int) -> None:
    def key(payload: Mapping[str, Any]) -> str:
        return key_of(OptimoveEvent.from_payload(payload, number))

    assert key(TRIGGERED) == key(dict(reversed(TRIGGERED.items())))
    assert key(TRIGGERED) != key({**TRIGGERED, "customerID": "C0000018"})
    assert key(TRIGGERED) != key({**TRIGGERED, "TimeStamp": "2026-11-20 06:30:01"})
    word, digits = key(TRIGGERED).split("/")
    assert (word, len(digits)) == (event_word(number), 32)


def test_keys_are_short_and_need_a_type() -> None:
    largest = {"CampaignID": 2**63 - 1, "ChannelID": 2**63 - 1}
    assert len(key_of(OptimoveEvent.from_payload(largest, 1))) <= 200
    with pytest.raises(OptimoveResponseError, match=r"^EventTypeID: missing"):
        key_of(OptimoveEvent.from_payload({"CampaignID": 1}))


# The events of a run


def asset_event(second: int, extra: Any) -> Any:
    return SimpleNamespace(extra=extra, timestamp=MOMENT.replace(second=second))


def taken_in(second: int, campaign_id: int) -> Any:
    return asset_event(second, {"event_type": 13, "key": "k", "payload": {"CampaignID": campaign_id}})


def run_of(**events: list[Any]) -> dict[str, Any]:
    started = {Asset(name): of_it for name, of_it in events.items()}
    return {"triggering_asset_events": started, "dag_run": SimpleNamespace(run_type="manual")}


class Asset:
    def __init__(self, name: str) -> None:
        self.name = name


def test_the_event_that_started_a_run() -> None:
    event = OptimoveEvent.from_context(run_of(executed=[taken_in(1, 6577)]))
    assert (event.event_type, event.name, event.campaign_id) == (13, "campaign_executed", 6577)


def test_an_event_that_a_watcher_found() -> None:
    found = {"from_trigger": True, "payload": {"CampaignID": 6577, "Date": "2026-11-20"}}
    event = OptimoveEvent.from_context(run_of(watched=[asset_event(1, found)]))
    assert (event.event_type, event.name, event.campaign_id) == (None, None, 6577)


def test_events_come_in_the_order_of_their_arrival() -> None:
    twice = taken_in(3, 3)
    context = run_of(one=[twice, taken_in(1, 1)], other=[taken_in(2, 2)], alias=[twice])
    assert [event.campaign_id for event in OptimoveEvent.all_from_context(context)] == [1, 2, 3]
    with pytest.raises(OptimoveInputError, match=r"^3 events started this run: .*all_from_context") as raised:
        OptimoveEvent.from_context(context)
    # A retry would find the same events.
    assert isinstance(raised.value, AirflowFailException)


def test_events_of_one_moment_are_in_one_order() -> None:
    events = [taken_in(2, number) for number in (1, 2, 3)]
    orders = [
        [event.campaign_id for event in OptimoveEvent.all_from_context(run_of(one=list(order), other=[taken_in(1, 4)]))]
        for order in permutations(events)
    ]
    assert orders == [[4, 1, 2, 3]] * 6


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"payload": {"CampaignID": 1}},
        {"event_type": 13},
        {"event_type": 13, "payload": [1]},
        {"event_type": "13", "payload": {"CampaignID": 1}},
        {"from_trigger": True, "payload": {"date": "2026-11-20"}},
        {"from_trigger": True, "payload": "CampaignID"},
    ],
)
def test_events_of_others_are_none(extra: dict[str, Any]) -> None:
    context = run_of(theirs=[asset_event(1, extra)])
    assert OptimoveEvent.all_from_context(context) == []
    with pytest.raises(OptimoveInputError, match="started this run, but events of theirs"):
        OptimoveEvent.from_context(context)
    context = run_of(theirs=[asset_event(1, extra)], ours=[taken_in(2, 6577)])
    assert OptimoveEvent.from_context(context).campaign_id == 6577


@pytest.mark.parametrize("context", [run_of(), {"dag_run": SimpleNamespace(run_type="manual")}])
def test_a_run_that_no_event_started(context: dict[str, Any]) -> None:
    assert OptimoveEvent.all_from_context(context) == []
    with pytest.raises(OptimoveInputError, match="no event of Optimove's started this run, but its type is manual"):
        OptimoveEvent.from_context(context)
