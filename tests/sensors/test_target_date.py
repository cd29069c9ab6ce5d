"""Which day a run is about: facts as Airflow 2.11 and 3 give them, and the timetables of the Airflow that runs here."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
import pytest
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.simple import NullTimetable, OnceTimetable
from airflow.timetables.trigger import CronTriggerTimetable

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.sensors.target_date import Run, as_date, as_zone, run_date


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


YEARS_AGO = at("2024-01-01T00:00")
LAST_WEEK = at("2026-11-15T00:00")
NOW = at("2026-11-21T06:00")

RUNS = {
    "3: daily cron, without an interval": (
        Run("scheduled", data_interval_end=NOW, run_after=NOW, start_date=NOW, logical_date=NOW),
        date(2026, 11, 20),
    ),
    "3: daily cron that starts three days late": (
        Run("scheduled", data_interval_end=NOW, run_after=NOW, start_date=NOW + timedelta(days=3), logical_date=NOW),
        date(2026, 11, 20),
    ),
    "3: daily data interval": (
        Run("scheduled", data_interval_end=NOW, run_after=NOW, logical_date=NOW - timedelta(days=1)),
        date(2026, 11, 20),
    ),
    "2.11: daily data interval": (
        Run("scheduled", data_interval_end=NOW, start_date=NOW, logical_date=NOW - timedelta(days=1)),
        date(2026, 11, 20),
    ),
    "3: partitioned schedule, without any interval": (
        Run("scheduled", run_after=NOW, start_date=NOW),
        date(2026, 11, 20),
    ),
    "3: backfill of an old day": (
        Run("backfill", data_interval_end=at("2026-03-05T06:00"), run_after=NOW, start_date=NOW),
        date(2026, 3, 4),
    ),
    "2.11: backfill of an old day": (
        Run("backfill", data_interval_end=at("2026-03-05T06:00"), start_date=NOW, logical_date=at("2026-03-04T06:00")),
        date(2026, 3, 4),
    ),
    "3: by hand, without a logical date": (Run("manual", run_after=NOW, start_date=NOW), date(2026, 11, 20)),
    "3: by hand, queued until the next day": (
        Run("manual", data_interval_end=NOW, run_after=NOW, start_date=NOW + timedelta(days=1), logical_date=NOW),
        date(2026, 11, 20),
    ),
    "3: by hand with an old logical date": (
        Run("manual", data_interval_end=YEARS_AGO, run_after=NOW, start_date=NOW, logical_date=YEARS_AGO),
        date(2026, 11, 20),
    ),
    "3: weekly data interval, by hand": (
        Run("manual", data_interval_end=LAST_WEEK, run_after=NOW, start_date=NOW, logical_date=NOW),
        date(2026, 11, 20),
    ),
    "2.11: weekly data interval, by hand": (
        Run("manual", data_interval_end=LAST_WEEK, start_date=NOW, logical_date=NOW),
        date(2026, 11, 20),
    ),
    "2.11: by hand with an old logical date": (
        Run("manual", data_interval_end=YEARS_AGO, start_date=NOW, logical_date=YEARS_AGO),
        date(2026, 11, 20),
    ),
    "2.11: by hand, start not known": (
        Run("manual", data_interval_end=LAST_WEEK, logical_date=NOW),
        date(2026, 11, 20),
    ),
    "3: started by another DAG": (Run("operator_triggered", run_after=NOW, start_date=NOW), date(2026, 11, 20)),
    "3: triggered by an asset": (Run("asset_triggered", run_after=NOW, start_date=NOW), date(2026, 11, 20)),
    "2.11: triggered by a dataset, with the interval of last week's producer": (
        Run("dataset_triggered", data_interval_end=LAST_WEEK, start_date=NOW, logical_date=NOW),
        date(2026, 11, 20),
    ),
    "3: @once, for the start date of the DAG": (
        Run("scheduled", YEARS_AGO, run_after=YEARS_AGO, start_date=NOW, logical_date=YEARS_AGO, once=True),
        date(2026, 11, 20),
    ),
    "3: @once, run_after newer than the interval": (
        Run("scheduled", YEARS_AGO, run_after=NOW, start_date=NOW, logical_date=YEARS_AGO, once=True),
        date(2026, 11, 20),
    ),
    "2.11: @once, for the start date of the DAG": (
        Run("scheduled", YEARS_AGO, start_date=NOW, logical_date=YEARS_AGO, once=True),
        date(2026, 11, 20),
    ),
    "3: @once, by hand": (Run("manual", NOW, run_after=NOW, start_date=NOW, once=True), date(2026, 11, 20)),
    "3: @once, backfilled": (
        Run("backfill", YEARS_AGO, run_after=YEARS_AGO, start_date=NOW, once=True),
        date(2026, 11, 20),
    ),
}


@pytest.mark.parametrize(("run", "expected"), RUNS.values(), ids=RUNS)
def test_the_day_before_a_run(run: Run, expected: date) -> None:
    assert run.day_before(UTC) == expected


@pytest.mark.parametrize(
    ("moment", "zone", "expected"),
    [
        ("2026-11-20T22:59", "Europe/Berlin", date(2026, 11, 19)),
        ("2026-11-20T23:00", "Europe/Berlin", date(2026, 11, 20)),
        ("2026-11-20T10:59", "Pacific/Auckland", date(2026, 11, 19)),
        ("2026-11-20T11:00", "Pacific/Auckland", date(2026, 11, 20)),
        ("2026-11-21T07:59", "America/Los_Angeles", date(2026, 11, 19)),
        ("2026-11-21T08:00", "America/Los_Angeles", date(2026, 11, 20)),
        # Days of 23 and 25 hours: the day before is a day of the calendar, not 24 hours.
        ("2026-03-29T22:00", "Europe/Berlin", date(2026, 3, 29)),
        ("2026-03-29T21:59", "Europe/Berlin", date(2026, 3, 28)),
        ("2026-03-28T23:00", "Europe/Berlin", date(2026, 3, 28)),
        ("2026-10-25T22:59", "Europe/Berlin", date(2026, 10, 24)),
        ("2026-10-25T23:00", "Europe/Berlin", date(2026, 10, 25)),
        ("2026-11-02T07:59", "America/Los_Angeles", date(2026, 10, 31)),
        ("2026-11-02T08:00", "America/Los_Angeles", date(2026, 11, 1)),
        ("2026-03-09T06:59", "America/Los_Angeles", date(2026, 3, 7)),
        ("2026-03-09T07:00", "America/Los_Angeles", date(2026, 3, 8)),
        ("2026-04-05T12:00", "Pacific/Auckland", date(2026, 4, 5)),
        ("2026-09-26T12:00", "Pacific/Auckland", date(2026, 9, 26)),
        ("2026-03-01T00:00", "UTC", date(2026, 2, 28)),
        ("2027-01-01T00:00", "UTC", date(2026, 12, 31)),
    ],
)
def test_the_day_is_that_of_the_zone(moment: str, zone: str, expected: date) -> None:
    assert Run("scheduled", data_interval_end=at(moment)).day_before(ZoneInfo(zone)) == expected


def test_a_moment_of_another_zone_is_converted() -> None:
    moment = datetime(2026, 11, 21, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert Run("scheduled", data_interval_end=moment).day_before(UTC) == date(2026, 11, 19)


@pytest.mark.parametrize(("zone", "expected"), [("UTC", date(2026, 11, 20)), ("Europe/Berlin", date(2026, 11, 21))])
def test_the_day_of_a_run(zone: str, expected: date) -> None:
    dag_run = SimpleNamespace(run_type="manual", run_after=at("2026-11-20T23:30"), data_interval_end=YEARS_AGO)
    assert run_date({"dag_run": dag_run, "dag": SimpleNamespace(timetable=None)}, zone) == expected


def test_a_run_without_any_date_says_what_to_do() -> None:
    with pytest.raises(OptimoveInputError, match="give target_date"):
        Run("manual").day_before(UTC)


def run_of(timetable: Any, run_type: str, interval: DataInterval | None, **dag_run: Any) -> Run:
    if interval is not None:
        dag_run |= {"data_interval_end": interval.end, "logical_date": interval.start}
    context = {"dag": SimpleNamespace(timetable=timetable), "dag_run": SimpleNamespace(run_type=run_type, **dag_run)}
    return Run.of(context)


def scheduled(timetable: Any, earliest: datetime) -> Any:
    restriction = TimeRestriction(earliest=pendulum.instance(earliest), latest=None, catchup=True)
    return timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)


class TestTimetablesOfThisAirflow:
    """What the scheduler would make of each schedule, and what becomes of it."""

    def test_cron_without_an_interval(self) -> None:
        timetable = CronTriggerTimetable("0 6 * * *", timezone="UTC")
        info = scheduled(timetable, at("2026-11-20T12:00"))
        run = run_of(timetable, "scheduled", info.data_interval, start_date=NOW)
        assert run.day_before(UTC) == date(2026, 11, 20)

    def test_cron_with_an_interval(self) -> None:
        timetable = CronDataIntervalTimetable("0 6 * * *", timezone="UTC")
        info = scheduled(timetable, at("2026-11-20T06:00"))
        run = run_of(timetable, "scheduled", info.data_interval, start_date=NOW)
        assert info.data_interval.start == at("2026-11-20T06:00")
        assert run.day_before(UTC) == date(2026, 11, 20)

    @pytest.mark.parametrize("airflow_3", [False, True])
    def test_once(self, airflow_3: bool) -> None:
        info = scheduled(OnceTimetable(), YEARS_AGO)
        # What makes the case: neither the interval nor the scheduler's run_after tells when the run is.
        assert info.run_after == info.data_interval.end == YEARS_AGO
        facts = {"run_after": info.run_after} if airflow_3 else {}
        run = run_of(OnceTimetable(), "scheduled", info.data_interval, start_date=NOW, **facts)
        assert run.day_before(UTC) == date(2026, 11, 20)

    def test_once_of_the_task_sdk(self) -> None:
        simple = pytest.importorskip("airflow.sdk.definitions.timetables.simple", reason="needs Airflow 3")
        run = run_of(
            simple.OnceTimetable(), "scheduled", DataInterval.exact(pendulum.instance(YEARS_AGO)), start_date=NOW
        )
        assert run.day_before(UTC) == date(2026, 11, 20)

    def test_weekly_interval_by_hand(self) -> None:
        timetable = CronDataIntervalTimetable("@weekly", timezone="UTC")
        interval = timetable.infer_manual_data_interval(run_after=pendulum.instance(NOW))
        assert interval.end == LAST_WEEK
        assert run_of(timetable, "manual", interval, start_date=NOW).day_before(UTC) == date(2026, 11, 20)

    def test_no_schedule(self) -> None:
        run = run_of(NullTimetable(), "manual", None, start_date=NOW)
        assert run.day_before(UTC) == date(2026, 11, 20)


def test_the_run_type_may_be_an_enumeration() -> None:
    class RunType(str, Enum):  # noqa: UP042 - the Task SDK's is one of these, and str() of it is not its value
        SCHEDULED = "scheduled"

    run = run_of(NullTimetable(), RunType.SCHEDULED, DataInterval.exact(pendulum.instance(NOW)), run_after=YEARS_AGO)
    assert run.run_type == "scheduled"
    assert run.day_before(UTC) == date(2026, 11, 20)


@pytest.mark.parametrize(
    "value",
    [
        date(2026, 11, 20),
        datetime(2026, 11, 20, 23, 59, tzinfo=UTC),
        datetime(2026, 11, 20),
        pendulum.datetime(2026, 11, 20, 23, 59, tz="America/Los_Angeles"),
        "2026-11-20",
        " 2026-11-20 ",
    ],
)
def test_dates(value: object) -> None:
    found = as_date(value, "target_date")
    assert found == date(2026, 11, 20)
    assert type(found) is not datetime


@pytest.mark.parametrize(
    "value",
    ["", "None", "20261120", "2026-W47-5", "2026-02-30", "2026-11-20T00:00:00", "20.11.2026", 20261120, True, []],
)
def test_what_is_no_date_is_named_with_its_field(value: object) -> None:
    with pytest.raises(OptimoveInputError, match=r"target_date: .* is not a date") as raised:
        as_date(value, "target_date")
    assert repr(value) in str(raised.value)


@pytest.mark.parametrize(
    "name", ["", " ", "Europe/Atlantis", "../../etc/passwd", "/etc/passwd", "Europe", "x\0y", 1, ["UTC"]]
)
def test_what_is_no_zone_is_named_with_its_field(name: object) -> None:
    with pytest.raises(OptimoveInputError, match=r"timezone: .* is not a time zone"):
        as_zone(name, "timezone")


def test_zones() -> None:
    assert as_zone("Europe/Berlin", "timezone").key == "Europe/Berlin"
