"""Sticky Street's customers → a file, on this machine or in an object storage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from airflow_provider_optimove.hooks.task_arguments import check_choices
from airflow_provider_optimove.transfers.to_object_storage import Piece, Pieces, ToObjectStorageOperator, named

if TYPE_CHECKING:
    import datetime

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_optimove.clients.sticky_street.client import ReportArguments
    from airflow_provider_optimove.clients.sticky_street.report import Report
    from airflow_provider_optimove.hooks.sticky_street import StickyStreetHook
    from airflow_provider_optimove.storage.shaping import Kind

FROM_THE_BEGINNING = "0"
# More fits into no name of an Airflow Variable.
LONGEST_VARIABLE = 250


class StickyStreetCustomersToObjectStorageOperator(ToObjectStorageOperator):
    """Read Sticky Street's report of all customers into a file: JSON Lines, CSV or Parquet.

    With ``cursor_field`` each run reads the customers that are new or changed since the run before. The id to go on
    from is kept in an Airflow Variable: read when the task starts (``0``, which means all, where there is none), and
    written when the file is complete under its name. A report without customers leaves it as it is, and so does one
    whose id is a smaller number. The Variable is an object with ``last``, and with ``before`` and ``run_id`` of the run
    that wrote it, which starts there again when it is repeated; set by hand, it may be the id alone.

    The base class has the arguments of the file.

    :param path: where the file goes; see :class:`ToObjectStorageOperator`.
    :param date_start: the first day of transactions; needs ``selected_campaigns``.
    :param date_end: the last day of transactions; needs ``selected_campaigns``.
    :param selected_campaigns: ids as text, as a list or with commas: only customers with a transaction in one of them.
    :param last: only customers that are new or changed since this id; 0: all. It excludes ``selected_campaigns``, and
        counts instead of the kept id.
    :param output: the format that Sticky Street is asked for, ``JSON`` or ``XML``; the file is the same.
    :param cursor_field: the name of the field that has the id to go on from: beside the customers, or of the last
        customer. None: no id is kept. It excludes ``selected_campaigns``.
    :param cursor_variable: the Variable that keeps the id; None: ``sticky_street_last.<dag id>.<task id>``, and
        ``.<map index>`` where the task is mapped.
    :param sticky_street_conn_id: the connection.
    :returns: (XCom) ``{"path", "rows", "bytes"}``, and with ``cursor_field`` ``last``, the id that is kept now.
    :raises OptimoveInputError: arguments that are not valid; nothing was called. Or the report has no
        ``cursor_field``; no file is written then.
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
        selected_campaigns: Sequence[str] | str = (),
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
        self.last = last
        # BaseOperator has an output of its own.
        self.answer_format: Literal["JSON", "XML"] = output
        self.cursor_field = cursor_field
        self.cursor_variable = cursor_variable
        self.sticky_street_conn_id = sticky_street_conn_id
        self._map_index = -1
        self._run_id: str | None = None
        self._kept = FROM_THE_BEGINNING
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
        settings = self.hook.client.settings
        return f"stickystreet://{urlsplit(settings.http.base_url).netloc}/{settings.account_id}/{self.function}"

    def execute(self, context: Context) -> Any:
        """Read the customers, write the file, and keep the id to go on from."""
        self._map_index = getattr(context.get("ti"), "map_index", -1)
        self._run_id = context.get("run_id")
        return super().execute(context)

    def transfer(self) -> Any:
        """Read and write; returns what the task returns."""
        with named(self.function):
            variable = self._variable()
            start = self._start(variable) if variable else None
            self._asked = self._arguments(start if self.last is None else self.last)
            result = super().transfer()
        if variable and result["last"] != self._kept:
            self._keep(variable, {"last": result["last"], "before": start, "run_id": self._run_id})
        return result

    def pieces(self) -> Pieces:
        """Read the customers; none is given before all have arrived."""
        with closing(self.hook.client.report(**self._asked)) as report:
            facts = {"last": self._moved(report)} if self.cursor_field else {}
            for lines in report.lines():
                yield Piece((lines.content,), lines.rows)
        return facts

    def _variable(self) -> str | None:
        if not self.cursor_field:
            if self.cursor_variable:
                raise self.not_valid("cursor_variable: needs cursor_field, which names the id that is kept")
            return None
        if self.selected_campaigns:
            raise self.not_valid("cursor_field, selected_campaigns: the one excludes the other")
        mapped = f".{self._map_index}" if self._map_index >= 0 else ""
        variable = self.cursor_variable or f"sticky_street_last.{self.dag_id}.{self.task_id}{mapped}"
        if len(variable) > LONGEST_VARIABLE:
            raise self.not_valid(f"cursor_variable: a shorter name than {variable} is needed")
        return variable

    def _start(self, variable: str) -> str:
        """The id that this run goes on from; what the variable keeps is remembered."""
        from airflow.providers.common.compat.sdk import Variable

        kept = str(Variable.get(variable, FROM_THE_BEGINNING)).strip()
        try:
            written = json.loads(kept)
        except ValueError:
            written = None
        if not isinstance(written, dict):
            self._kept = kept or FROM_THE_BEGINNING
            return self._kept
        self._kept = str(written.get("last", FROM_THE_BEGINNING))
        if self._run_id is None or written.get("run_id") != self._run_id:
            return self._kept
        start = str(written.get("before", FROM_THE_BEGINNING))
        self.log.info("This run has moved the id before, and starts from %s again, as it did then", start)
        return start

    def _keep(self, variable: str, what: Mapping[str, Any]) -> None:
        from airflow.providers.common.compat.sdk import Variable

        Variable.set(variable, json.dumps(what))
        self.log.info("The next run goes on from %s, which the variable %s keeps", what["last"], variable)

    def _arguments(self, last: str | int | None) -> ReportArguments:
        """The arguments of the call, checked."""
        from airflow_provider_optimove.clients.sticky_street.client import form_fields

        arguments: ReportArguments = {
            "date_start": self.date_start,
            "date_end": self.date_end,
            "selected_campaigns": self.selected_campaigns,
            "last": last,
            "output": self.answer_format,
        }
        form_fields(**arguments)
        return arguments

    def _moved(self, report: Report) -> str:
        """The id to go on from after a report."""
        if not report.rows:
            return self._kept
        assert self.cursor_field
        found = report.beside.get(self.cursor_field, report.last_customer.get(self.cursor_field))
        if not isinstance(found, str | int) or not str(found).strip():
            there = [f"beside the customers {', '.join(report.beside) or 'nothing'}"]
            there.append(f"in the last customer {', '.join(report.last_customer)}")
            raise self.not_valid(f"cursor_field: no id in {self.cursor_field!r}; there is {'; '.join(there)}")
        last = str(found).strip()
        if last.isdecimal() and self._kept.isdecimal() and int(last) < int(self._kept):
            self.log.warning("The report ends at id %s, before the one that is kept, which stays %s", last, self._kept)
            return self._kept
        return last
