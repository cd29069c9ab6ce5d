"""Sticky Street's customers → a file, on this machine or in an object storage."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from airflow_provider_optimove.hooks.task_arguments import check_choices
from airflow_provider_optimove.transfers.to_object_storage import Piece, Pieces, ToObjectStorageOperator, named

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_optimove.clients.sticky_street.client import ReportArguments
    from airflow_provider_optimove.clients.sticky_street.cursor import Cursor, Run
    from airflow_provider_optimove.clients.sticky_street.report import Report
    from airflow_provider_optimove.hooks.sticky_street import StickyStreetHook
    from airflow_provider_optimove.storage.shaping import Kind

# More fits into no name of an Airflow Variable.
LONGEST_VARIABLE = 250


class StickyStreetCustomersToObjectStorageOperator(ToObjectStorageOperator):
    """Read Sticky Street's report of all customers into a file: JSON Lines, CSV or Parquet.

    With ``cursor_field`` each run reads the customers that are new or changed since the run before. The id to go on
    from is kept in an Airflow Variable: read when the task starts (``0``, which means all, where there is none), and
    written when the file is complete under its name. A report without customers leaves it as it is; one that ends at a
    smaller number does not move the id. The Variable is an object with the id as ``last``, the ``account`` that it is
    of, and where the last 30 ``runs`` began: one of them that is repeated begins there again. Set by hand, it may be
    the id alone; then runs from before begin at that id, too.

    The base class has the arguments of the file.

    :param path: where the file goes; see :class:`ToObjectStorageOperator`.
    :param date_start: the first day of transactions; needs ``selected_campaigns``.
    :param date_end: the last day of transactions; needs ``selected_campaigns``.
    :param selected_campaigns: ids as text, as a list or with commas: only customers with a transaction in one of them.
        A number is an id if it has 12 digits.
    :param last: only customers that are new or changed since this id; 0: all. It excludes ``selected_campaigns`` and
        the dates, and counts instead of the kept id.
    :param output: the format that Sticky Street is asked for, ``JSON`` or ``XML``; the file is the same.
    :param cursor_field: the name of the field that has the id to go on from: beside the customers, or of the last
        customer. None: no id is kept. It excludes ``selected_campaigns`` and the dates.
    :param cursor_variable: the Variable that keeps the id; None: ``sticky_street_last.<dag id>.<task id>``. Where the
        task is mapped, ``.<map index>`` follows either name.
    :param sticky_street_conn_id: the connection.
    :returns: (XCom) ``{"path", "rows", "bytes"}``, and with ``cursor_field`` ``last``, the id that is kept now.
    :raises OptimoveInputError: arguments that are not valid, or a Variable that keeps no id of this account; nothing
        was called. Or the report has no id in ``cursor_field``; no file is written then.
    :raises StickyStreetError: the call failed.
    """

    function = "customers_all"

    template_fields: Sequence[str] = (
        *ToObjectStorageOperator.template_fields,
        *("date_start", "date_end", "selected_campaigns", "last", "cursor_field", "cursor_variable"),
        "sticky_street_conn_id",
    )

    def __init__(
        self,
        *,
        path: str,
        date_start: datetime.date | str | None = None,
        date_end: datetime.date | str | None = None,
        selected_campaigns: Sequence[str | int] | str | int = (),
        last: str | int | None = None,
        output: Literal["JSON", "XML"] = "JSON",
        cursor_field: str | None = None,
        cursor_variable: str | None = None,
        sticky_street_conn_id: str = "sticky_street_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(path=path, **kwargs)
        check_choices(self.function, output=(output, ("JSON", "XML")))
        self.date_start = date_start
        self.date_end = date_end
        self.selected_campaigns = selected_campaigns
        # A template, or the output of a task, may become the same.
        self._of_all_campaigns = selected_campaigns == ()
        self.last = last
        # BaseOperator has an output of its own.
        self.answer_format: Literal["JSON", "XML"] = output
        self.cursor_field = cursor_field
        self.cursor_variable = cursor_variable
        self.sticky_street_conn_id = sticky_street_conn_id
        self._map_index = -1
        self._run: Run | None = None
        self._kept: Cursor | None = None
        self._asked: ReportArguments = {}

    @cached_property
    def hook(self) -> StickyStreetHook:
        """The hook of the connection."""
        from airflow_provider_optimove.hooks.sticky_street import StickyStreetHook

        return StickyStreetHook(self.sticky_street_conn_id)

    def fields(self) -> Mapping[str, Kind]:
        """The documented fields of a customer."""
        from airflow_provider_optimove.clients.sticky_street.client import FIELDS

        return dict.fromkeys(FIELDS, "text")

    def source(self) -> str:
        """The report of the account."""
        return f"stickystreet://{self._account()}/{self.function}"

    def execute(self, context: Context) -> Any:
        """Read the customers, write the file, and keep the id to go on from."""
        self._map_index = getattr(context.get("ti"), "map_index", -1)
        self._run = _run_of(context)
        return super().execute(context)

    def transfer(self) -> Any:
        """Read and write; returns what the task returns."""
        with named(self.function):
            variable = self._variable()
            start = self._start(variable) if variable else self.last
            self._asked = self._arguments(start)
            result = super().transfer()
        if variable and result["rows"]:
            self._keep(variable, result["last"], str(start))
        return result

    def pieces(self) -> Pieces:
        """Read the customers; none is given before all have arrived."""
        with closing(self.hook.client.report(**self._asked)) as report:
            facts = {"last": self._moved(report, self._kept.last)} if self._kept else {}
            for lines in report.lines():
                yield Piece((lines.content,), lines.rows)
        return facts

    def _variable(self) -> str | None:
        """The name of the Variable; None: no id is kept."""
        if self.cursor_field is None:
            if self.cursor_variable:
                raise self.not_valid("cursor_variable: needs cursor_field, which names the id that is kept")
            return None
        if not isinstance(self.cursor_field, str) or not self.cursor_field.strip():
            raise self.not_valid(f"cursor_field: expected the name of a field, got {self.cursor_field!r}")
        others = {"date_start": self.date_start, "date_end": self.date_end}
        excluded = [name for name, value in others.items() if value is not None]
        if self.selected_campaigns:
            excluded.append("selected_campaigns")
        if excluded:
            raise self.not_valid(f"cursor_field: excludes {', '.join(excluded)}")
        mapped = f".{self._map_index}" if self._map_index >= 0 else ""
        variable = (self.cursor_variable or f"sticky_street_last.{self.dag_id}.{self.task_id}") + mapped
        if len(variable) > LONGEST_VARIABLE:
            raise self.not_valid(f"cursor_variable: a shorter name than {variable} is needed")
        return variable

    def _start(self, variable: str) -> str | int:
        """The id that this run goes on from; what the Variable keeps is remembered."""
        from airflow_provider_optimove.clients.sticky_street.cursor import BEGINNING, Cursor, Forgotten

        try:
            found = _cursor_in(variable)
        except ValueError as error:
            raise self.not_valid(f"cursor_variable: what {variable} keeps cannot be read: {error}") from None
        self._kept = found or Cursor()
        if self._kept.account not in (None, self._account()):
            raise self.not_valid(
                f"cursor_variable: {variable} keeps an id of {self._kept.account}, and the connection leads to "
                f"{self._account()}; name another Variable, or write the id alone into this one"
            )
        if self.last is not None:
            self.log.info("Reading what has changed since %s, as last says; %s keeps the id", self.last, variable)
            return self.last
        try:
            start = self._kept.start_of(self._run)
        except Forgotten:
            raise self.not_valid(
                f"cursor_variable: {variable} does not tell any more where this run began; give it last=…, the id "
                "to begin at, which the run before it returned as last"
            ) from None
        if start != self._kept.last:
            self.log.info("Reading what has changed since %s, where this run began before (%s)", start, variable)
        elif start == BEGINNING:
            self.log.warning(
                "Reading all customers: the Variable %s %s", variable, "says 0" if found else "is not there"
            )
        else:
            self.log.info("Reading what has changed since %s, which the Variable %s keeps", start, variable)
        return start

    def _keep(self, variable: str, last: str, start: str) -> None:
        from airflow.providers.common.compat.sdk import Variable

        assert self._kept
        moved = self._kept.moved(last, self._account(), self._run, start)
        if moved != self._kept:
            Variable.set(variable, moved.text())
            self.log.info("The next run goes on from %s, which the Variable %s keeps", last, variable)

    def _account(self) -> str:
        """Whose ids these are."""
        settings = self.hook.client.settings
        return f"{urlsplit(settings.http.base_url).netloc}/{settings.account_id}"

    def _arguments(self, last: str | int | None) -> ReportArguments:
        """The arguments of the call, checked."""
        from airflow_provider_optimove.clients.sticky_street.client import form_fields

        if not self.selected_campaigns and not self._of_all_campaigns:
            # As a template makes it of what is not there. It would ask for everybody.
            raise self.not_valid(f"selected_campaigns: {self.selected_campaigns!r} names none; leave it out for all")
        arguments: ReportArguments = {
            "date_start": self.date_start,
            "date_end": self.date_end,
            "selected_campaigns": self.selected_campaigns,
            "last": last,
            "output": self.answer_format,
        }
        form_fields(**arguments)
        return arguments

    def _moved(self, report: Report, kept: str) -> str:
        """The id to go on from after a report."""
        from airflow_provider_optimove.clients.sticky_street.cursor import LONGEST_ID, id_of

        if not report.rows:
            return kept
        assert self.cursor_field
        told = [fields.get(self.cursor_field, "") for fields in (report.beside, report.last_customer)]
        # Of the customer where there is nothing beside them.
        found = next(filter(None, told), "")
        last = id_of(found.strip()) if isinstance(found, str) else None
        if last is None and found:
            what = f"text of {len(found)} characters" if isinstance(found, str) else "no text"
            raise self.not_valid(
                f"cursor_field: {self.cursor_field!r} is {what}; an id is one of 1 to {LONGEST_ID} digits"
            )
        if last is None:
            there = [f"beside the customers {', '.join(report.beside) or 'nothing'}"]
            there.append(f"in the last customer {', '.join(report.last_customer)}")
            raise self.not_valid(f"cursor_field: no id in {self.cursor_field!r}; there is {'; '.join(there)}")
        if int(last) < int(kept):
            self.log.warning("The report ends at id %s, before the one that is kept, which stays %s", last, kept)
            return kept
        return last


def kept_id(variable: str) -> str:
    """The id to go on from that an Airflow Variable keeps; ``0`` where it is not there.

    :param variable: the Variable's name, as in ``cursor_variable``.
    :raises ValueError: it keeps no id.
    """
    from airflow_provider_optimove.clients.sticky_street.cursor import Cursor

    return (_cursor_in(variable) or Cursor()).last


def _cursor_in(variable: str) -> Cursor | None:
    """What a Variable keeps; None where it is not there."""
    from airflow.providers.common.compat.sdk import Variable

    from airflow_provider_optimove.clients.sticky_street.cursor import Cursor

    text = Variable.get(variable, None)
    return None if text is None else Cursor.of(str(text))


def _run_of(context: Context) -> Run | None:
    from airflow_provider_optimove.clients.sticky_street.cursor import Run

    dag_run: Any = context.get("dag_run")
    if dag_run is None:
        return None
    # Clearing a run changes neither. Airflow 2 knows the second one only.
    due = getattr(dag_run, "run_after", None) or dag_run.logical_date
    return Run(dag_run.run_id, due.astimezone(datetime.UTC).isoformat(timespec="microseconds"))
