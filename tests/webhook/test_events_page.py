"""What the page on events says is what the code does."""

from __future__ import annotations

import datetime
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS
from airflow.utils.session import create_session

from airflow_provider_optimove.assets.events import EVENT_FIELDS, EVENT_NAMES, REQUIRED_FIELDS, asset_of
from airflow_provider_optimove.get_provider_info import get_provider_info
from airflow_provider_optimove.hooks.optimove import OptimoveHook
from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.webhook.address import SHORTEST_SECRET, listener_url
from airflow_provider_optimove.webhook.body import DEEPEST, LARGEST_BODY
from tests.webhook.hostile_requests import ROWS

if TYPE_CHECKING:
    from tests.conftest import AssetEvents

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
WORDS = " ".join(PAGE.split())
newer_airflow = pytest.mark.skipif(not AIRFLOW_V_3_2_PLUS, reason="no partitioned assets before Airflow 3.2")


def table(heading: str) -> list[list[str]]:
    """The cells of the table with this heading, without it."""
    lines = PAGE.split(f"| {heading} |", 1)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_hostile_requests() -> None:
    assert table("Request") == [[row.what, str(row.status)] for row in ROWS]


def test_the_events_and_their_fields() -> None:
    rows = table("Number")
    assert {int(number): name.strip("`") for number, name, *_ in rows} == EVENT_NAMES
    shown = {int(number): set(re.findall(r"`(\w+)`", fields)) for number, *_, fields in rows}
    assert shown == {number: set(fields) for number, fields in EVENT_FIELDS.items()}
    for number, *_, fields in rows:
        required = re.findall(r"\*\*`(\w+)`", fields)
        names = {name.lower() for name in REQUIRED_FIELDS.get(int(number), () if "**" not in fields else ["TimeStamp"])}
        if int(number) != 3:
            assert {name.replace("_", "") for name in required} == names


def test_the_url() -> None:
    (shown,) = re.findall(r"```text\n(.*)\n```", PAGE)
    assert shown == listener_url("https://airflow.example.com", "optimove_default", 13, "...")


def test_the_settings() -> None:
    config: Any = get_provider_info()["config"]
    option = config["optimove"]["options"]["listener_connections"]
    (setting, secret, _) = table("What")
    assert setting[1:] == ["`[optimove] listener_connections`", f"`{option['example']}`"]
    assert f"at least {SHORTEST_SECRET} characters" in secret[0]


@newer_airflow
def test_the_answers_and_the_limits() -> None:
    listener: Any = importlib.import_module("airflow_provider_optimove.webhook.listener")
    recording: Any = importlib.import_module("airflow_provider_optimove.webhook.asset_events")
    heard: Any = importlib.import_module("airflow_provider_optimove.webhook.heard_connection")
    source = Path(listener.__file__).read_text()
    told = {(int(status), text.strip("`")) for status, text, _ in table("Status")}
    assert {text for status, text in told if status == 200} == {recording.RECORDED, recording.KNOWN, recording.NOBODY}
    assert (413, f"more than {LARGEST_BODY:,} bytes") in told
    assert (408, f"not whole within {listener.LONGEST_BODY_TIME:g} s") in told
    assert (503, f"not within {listener.LONGEST_RECORDING:g} s, it may have been recorded") in told
    for status in (403, 404, 405):
        (text,) = (text for found, text in told if found == status)
        assert f'Refused({status}, "{text}"' in source
    assert {int(status) for status in re.findall(r"Refused\(\s*(\d+)", source)} | {200} == {
        status for status, _ in told
    }
    assert f"records {listener.THREADS} events at a time; up to {listener.MOST_WAITING} wait" in WORDS
    assert f"{listener.MOST_WAITING} others wait already" in WORDS
    assert f"at most {LARGEST_BODY // 1024} KiB and {DEEPEST} levels" in WORDS
    assert f"at most every {heard.READ_ANEW_AFTER:g} seconds" in WORDS
    assert heard.KEPT == 60
    assert datetime.timedelta(hours=12) == recording.SAME_EVENT_WITHIN
    assert datetime.timedelta(minutes=10) == recording.SAME_CUSTOMERS_EVENT_WITHIN
    assert [hours for _, _, hours in table("Event")] == ["12 hours"] * 3 + ["10 minutes", "12 hours"]


@newer_airflow
def test_the_dag(optimove_sandbox: OptimoveSandbox, run_dag: Callable[..., Any]) -> None:
    (snippet,) = (
        python for python in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "after_a_campaign()" in python
    )
    hook = OptimoveHook()
    day = optimove_sandbox.last_data_update
    campaign = next(iter(hook.call("GetExecutedCampaignsByChannel", {"ChannelID": 15, "Date": day})))["CampaignID"]
    executed = {"EventTypeID": 13, "TimeStamp": f"{day} 08:00:00", "CampaignID": campaign, "ChannelID": 15}
    customers = hook.call("GetCustomerExecutionDetailsByCampaign", {"CampaignID": campaign})
    counted = run_dag(snippet, event=(13, executed)).xcom("count_customers")
    assert counted == sum(int(customer["ChannelID"]) == 15 for customer in customers) > 0


@newer_airflow
def test_customers_in_batches(run_dag: Callable[..., Any], asset_events: AssetEvents) -> None:
    models: Any = importlib.import_module("airflow.models.asset")
    (snippet,) = (
        python for python in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "triggered_customers()" in python
    )
    now = datetime.datetime.now(datetime.UTC)
    begins = [
        now.replace(minute=0, second=0, microsecond=0) + datetime.timedelta(minutes=15 * number - 1)
        for number in range(-8, 9)
    ]
    in_quarters: dict[datetime.datetime, list[str]] = {}
    name, uri = asset_of(11, "optimove_default")
    with create_session() as session:
        asset = session.query(models.AssetModel).filter_by(name=name).one_or_none() or models.AssetModel(name, uri)
        session.add(asset)
        session.flush()
        for begin in begins:
            end = begin + datetime.timedelta(minutes=15)
            for timestamp in (begin, end - datetime.timedelta(microseconds=1)):
                in_quarters.setdefault(begin, []).append(f"customer {timestamp}")
                extra = {"event_type": 11, "key": "k", "payload": {"customerID": f"customer {timestamp}"}}
                session.add(models.AssetEvent(asset_id=asset.id, extra=extra, timestamp=timestamp))

    # Those of one interval, all of them, and no other.
    assert run_dag(snippet).xcom("customers") in in_quarters.values()
