"""Which data date a DAG run waits for. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow_provider_optimove.exceptions import OptimoveInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_RUN_TYPES_OF_A_SCHEDULE = frozenset({"scheduled", "backfill"})


def as_date(value: object, field: str) -> date:
    """The calendar date that ``value`` names.

    :param value: a ``date``; a ``datetime``, whose own calendar date counts, whatever its zone; or ``YYYY-MM-DD``.
    :param field: what the value is called in an error.
    :raises OptimoveInputError: it is none of these.
    """
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, str) and _ISO_DATE.fullmatch(value.strip()):
        try:
            return date.fromisoformat(value.strip())
        except ValueError:
            pass
    raise OptimoveInputError(f"{field}: {value!r} is not a date; give a date, a datetime or text like 2026-11-20")


def as_zone(name: object, field: str) -> ZoneInfo:
    """The time zone of that name, e.g. ``Europe/Berlin``.

    :param name: a name of the IANA time zone database.
    :param field: what the value is called in an error.
    :raises OptimoveInputError: there is no such zone.
    """
    try:
        if isinstance(name, str) and name.strip():
            return ZoneInfo(name.strip())
    except (KeyError, ValueError, OSError):
        pass
    raise OptimoveInputError(f"{field}: {name!r} is not a time zone; give a name like Europe/Berlin")


@dataclass(frozen=True)
class Run:
    """What of a DAG run decides which day it is about.

    :param run_type: Airflow's word for what started it: ``scheduled``, ``backfill``, ``manual``, ``asset_triggered`` …
    :param data_interval_end: end of the data interval; None where the run has no interval.
    :param run_after: the earliest moment it may start; None on Airflow 2.
    :param start_date: when it started; a retry or a reschedule of a task leaves it as it is.
    :param logical_date: None in runs of Airflow 3 that have none.
    :param once: the schedule of its DAG is ``@once``.
    """

    run_type: str
    data_interval_end: datetime | None = None
    run_after: datetime | None = None
    start_date: datetime | None = None
    logical_date: datetime | None = None
    once: bool = False

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Run:
        """The run that a task's context belongs to.

        :param context: the context that Airflow gives to ``execute``, on Airflow 2.11 or 3.
        """
        dag_run = context["dag_run"]
        run_type = dag_run.run_type
        return cls(
            run_type=str(getattr(run_type, "value", run_type)),
            data_interval_end=context.get("data_interval_end") or getattr(dag_run, "data_interval_end", None),
            run_after=getattr(dag_run, "run_after", None),
            start_date=getattr(dag_run, "start_date", None),
            logical_date=context.get("logical_date") or getattr(dag_run, "logical_date", None),
            once=_is_once(getattr(context["dag"], "timetable", None)),
        )

    @property
    def moment(self) -> datetime:
        """The moment the run counts its days from, with a time zone.

        The end of the data interval where a schedule made the run. Otherwise the interval says nothing about the day of
        the run (a weekly DAG started by hand has last week's), and it is the moment from which the run could start.

        :raises OptimoveInputError: the run has no date at all.
        """
        of_schedule = self.run_type in _RUN_TYPES_OF_A_SCHEDULE
        if of_schedule and not self.once and self.data_interval_end:
            return _aware(self.data_interval_end)
        could_start = [_aware(moment) for moment in (self.run_after, self.start_date) if moment]
        if could_start:
            # Airflow schedules @once for the DAG's start_date, which may be years ago: run_after is that date too.
            return max(could_start) if of_schedule and self.once else could_start[0]
        if self.logical_date:
            return _aware(self.logical_date)
        raise OptimoveInputError("target_date: this run has no date to count from; give target_date")

    def day_before(self, zone: tzinfo) -> date:
        """The calendar date of :attr:`moment` in ``zone``, less one day."""
        return self.moment.astimezone(zone).date() - timedelta(days=1)


def run_date(context: Mapping[str, Any], timezone: str | None = None) -> date:
    """The calendar day that a DAG run is about: the day of the campaigns to work on, in a task of your own.

    That of the end of its data interval where a schedule made the run, else of the moment it could start; the sensor
    waits for the data of the day before it.

    :param context: the context of a task, as ``get_current_context()`` gives it.
    :param timezone: name of the zone that the day is taken in, e.g. ``Europe/Berlin``; None for the DAG's.
    :raises OptimoveInputError: there is no such zone.
    """
    zone = context["dag"].timezone if timezone is None else as_zone(timezone, "timezone")
    day: date = Run.of(context).moment.astimezone(zone).date()
    return day


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _is_once(timetable: object) -> bool:
    # By name: Airflow 3 has one class for DAG files and another for the scheduler, and a DAG file may use either.
    return any(base.__name__ == "OnceTimetable" for base in type(timetable).__mro__)
