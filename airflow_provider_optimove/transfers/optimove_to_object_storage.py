"""Rows of Optimove's functions → files, on this machine or in an object storage."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from gzip import GzipFile
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_optimove.exceptions import OptimoveError, OptimoveInputError
from airflow_provider_optimove.hooks.task_arguments import check_choices
from airflow_provider_optimove.storage.formats import FileFormat, format_of
from airflow_provider_optimove.storage.paths import location_of, shown_path, text_of_path, uri_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_optimove.clients.optimove.functions import Function
    from airflow_provider_optimove.clients.optimove.pages import Page
    from airflow_provider_optimove.hooks.optimove import OptimoveHook
    from airflow_provider_optimove.storage.row_writers import RowWriter
    from airflow_provider_optimove.storage.shaping import FileLayout
    from airflow_provider_optimove.transfers.data_changes import DataChanges
    from airflow_provider_optimove.transfers.planned_files import PlannedFile

# Measured: higher levels take more time than a page takes to arrive.
GZIP_LEVEL = 3


@dataclass(frozen=True)
class _Call:
    """One call: how a log and an error name it among several, what all of its rows share, and its pages to come."""

    shown: str
    constants: Mapping[str, Any]
    pages: Iterator[Page]


@dataclass(frozen=True)
class _Read:
    """What goes into one file."""

    file: PlannedFile
    layout: FileLayout
    calls: Sequence[_Call]


class OptimoveToObjectStorageOperator(BaseOperator):
    """Read all rows of a function into a file: JSON Lines, CSV or Parquet; JSON Lines and CSV also compressed.

    Nothing is cut off: a function that pages is read to its end, the next page while the last one is written. A file
    appears under its name only when it is complete; a task that fails leaves what was there before. Memory holds a few
    pages, whatever the number of rows.

    JSON Lines hold the rows as Optimove sends them, but for white space. In CSV and Parquet each field is a column,
    each customer attribute is a column of its name, nested values are JSON in their cell, and ``OtherFields`` holds as
    JSON what has no column.

    Several calls can be one task: with ``parameters`` as a list, each call's rows go into a file of its own where the
    path names an argument in braces (``customers-{CampaignID}.csv``), and otherwise all into one, with the arguments
    as columns.

    :param function: Optimove's name of a function that returns rows, in any letter case.
    :param path: a local path, or a URI that Airflow's ObjectStoragePath knows; ends in ``.jsonl``, ``.ndjson``,
        ``.csv`` (each also with ``.gz``) or ``.parquet``. Missing folders are made.
    :param parameters: the arguments of the call by Optimove's names, in any letter case; or a list of such.
    :param file_format: ``jsonl``, ``csv`` or ``parquet``; None: as the path ends.
    :param page_size: rows a call, 1 to 200,000; None: 50,000.
    :param columns: the only fields to keep, in this order: fields of the rows, customer attributes, arguments of the
        call, or ``OtherFields``; None: all.
    :param rename: names in the file, by the fields' own names.
    :param attributes_as_fields: whether each customer attribute is a field of its name, instead of all being one list;
        None: in CSV and Parquet, and where ``columns`` or ``rename`` name one.
    :param overwrite: whether a file that is there may be replaced.
    :param on_data_update: what happens when Optimove's data changed during the read, so that rows may be missing or
        doubled: ``warn`` in the log, or ``fail``, so that a retry reads again.
    :param object_storage_conn_id: the Airflow connection of the storage.
    :param optimove_conn_id: the connection.
    :returns: (XCom) ``{"path", "rows", "bytes", "pages"}``, of a list of calls with files of their own a list of such.
        An asset among the task's outlets gets the sums on its event.
    :raises OptimoveInputError: arguments that are not valid; nothing was called.
    :raises OptimoveResponseError: the data changed, and ``on_data_update`` is ``fail``; or an answer is no rows.
    """

    template_fields: Sequence[str] = (
        *("optimove_conn_id", "function", "parameters", "path", "columns", "rename"),
        "object_storage_conn_id",
    )

    def __init__(
        self,
        *,
        function: str,
        path: str,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        file_format: FileFormat | None = None,
        page_size: int | None = None,
        columns: Sequence[str] | None = None,
        rename: Mapping[str, str] | None = None,
        attributes_as_fields: bool | None = None,
        overwrite: bool = True,
        on_data_update: Literal["warn", "fail"] = "warn",
        object_storage_conn_id: str | None = None,
        optimove_conn_id: str = "optimove_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choices(
            function,
            file_format=(file_format, (None, *get_args(FileFormat))),
            on_data_update=(on_data_update, ("warn", "fail")),
        )
        self.function = function
        self.path = path
        self.parameters = parameters
        self.file_format = file_format
        self.page_size = page_size
        self.columns = columns
        self.rename = rename
        self.attributes_as_fields = attributes_as_fields
        self.overwrite = overwrite
        self.on_data_update = on_data_update
        self.object_storage_conn_id = object_storage_conn_id
        self.optimove_conn_id = optimove_conn_id

    @cached_property
    def hook(self) -> OptimoveHook:
        """The hook of the connection."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        return OptimoveHook(self.optimove_conn_id)

    def execute(self, context: Context) -> dict[str, Any] | list[dict[str, Any]]:
        """Read the rows and write the files."""
        from airflow_provider_optimove.hooks.asset_events import add_to_asset_events
        from airflow_provider_optimove.hooks.task_errors import permanent_errors_end_the_task
        from airflow_provider_optimove.transfers.planned_files import has_placeholder

        with permanent_errors_end_the_task():
            results = self._transfer()
            sums = {name: sum(result[name] for result in results) for name in ("rows", "bytes", "pages")}
            add_to_asset_events(context, self.outlets, sums)
        several = has_placeholder(str(self.path)) and not isinstance(self.parameters, Mapping)
        if several:
            self.log.info("%s: files: %s, rows: %s", self.function, f"{len(results):,}", f"{sums['rows']:,}")
        return results if several else results[0]

    def _transfer(self) -> list[dict[str, Any]]:
        from airflow_provider_optimove.transfers.data_changes import DataChanges
        from airflow_provider_optimove.transfers.planned_files import planned_files

        declared = self._declared()
        path = text_of_path(self.path)
        if path is None:
            raise self._not_valid(f"path: expected the path of a file, got {type(self.path).__name__}")
        planned = planned_files(declared, self.parameters, path)
        # The arguments of all calls are checked before the first is made.
        reads = list(self._reads(declared, planned))
        if not self.overwrite:
            self._check_that_none_exists(planned)
        changes = None
        if declared.paged and reads:
            changes = DataChanges(self.hook.client, declared.name, fail=self.on_data_update == "fail")
        results: list[dict[str, Any]] = []
        for read in reads:
            try:
                results.append(self._write(read, changes, written=len(results), is_last=read is reads[-1]))
            except OptimoveError as error:
                error.function = error.function or declared.name
                raise
            self._report_lineage(declared, read.file)
        return results

    def _write(self, read: _Read, changes: DataChanges | None, *, written: int, is_last: bool) -> dict[str, Any]:
        from airflow_provider_optimove.clients.fetch_ahead import fetched_ahead
        from airflow_provider_optimove.storage.row_writers import row_writer
        from airflow_provider_optimove.storage.whole_file import whole_file

        path = read.file.path
        file_format, compressed = format_of(path, self.file_format)
        as_they_came = file_format == "jsonl" and not read.layout.shapes and not read.layout.constants
        started = time.monotonic()
        rows = pages = 0
        with whole_file(path, self.object_storage_conn_id, overwrite=self.overwrite) as whole:
            # Without a name and a time, equal rows make equal files.
            gzip = GzipFile("", "wb", GZIP_LEVEL, whole, mtime=0) if compressed else nullcontext(whole)
            with gzip as content:
                writer = row_writer(content, file_format, read.layout)
                for constants, page in fetched_ahead(self._pages(read.calls)):
                    _write_page(writer, page, constants, as_they_came=as_they_came)
                    rows += page.rows
                    pages += 1
                    # Not to be held while the next one arrives.
                    del page
                writer.finish()
            if changes is not None and (pages > 1 or (is_last and written)):
                changes.check(shown_path(path), written)
        size = whole.tell()
        self.log.info(
            "%s: %s rows, %s bytes, %s page%s, %s rows/s: %s",
            *(self.function, f"{rows:,}", f"{size:,}", f"{pages:,}", "s" * (pages != 1)),
            *(f"{rows / (time.monotonic() - started):,.0f}", shown_path(path)),
        )
        return {"path": location_of(path), "rows": rows, "bytes": size, "pages": pages}

    def _reads(self, declared: Function, planned: Sequence[PlannedFile]) -> Iterator[_Read]:
        from airflow_provider_optimove.clients.optimove.paging import DEFAULT_PAGE
        from airflow_provider_optimove.transfers.planned_files import shown_call

        page_size = DEFAULT_PAGE if self.page_size is None else self.page_size
        count = 1 if isinstance(self.parameters, Mapping | None) else len(self.parameters)
        for file in planned:
            layout = self._layout(declared, file)
            calls = []
            for number, arguments in zip(file.numbers, file.calls, strict=True):
                shown = f"call {number:,} of {count:,}{shown_call(declared, arguments)}" if count > 1 else ""
                constants = {column: arguments.get(file.arguments[column]) for column in layout.constants}
                pages = self.hook.client.pages(declared.name, arguments, page_size=page_size)
                calls.append(_Call(shown, constants, pages))
            yield _Read(file, layout, calls)

    def _pages(self, calls: Sequence[_Call]) -> Iterator[tuple[Mapping[str, Any], Page]]:
        """The pages of one call after the other, each with what is the same in all of its rows."""
        for call in calls:
            if call.shown:
                self.log.info("%s: %s", self.function, call.shown)
            try:
                for page in call.pages:
                    yield call.constants, page
                    del page
            except OptimoveError as error:
                if call.shown:
                    error.add(call.shown)
                raise

    def _check_that_none_exists(self, planned: Sequence[PlannedFile]) -> None:
        from airflow_provider_optimove.storage.paths import storage_path

        told = "exists, and overwrite is false; an earlier try of this task may have written it"
        there = [file.path for file in planned if storage_path(file.path, self.object_storage_conn_id).exists()]
        if there:
            raise self._not_valid(*(f"path: {shown_path(path)} {told}" for path in there))

    def _declared(self) -> Function:
        from airflow_provider_optimove.clients.optimove.arguments import find_function

        declared = find_function(self.function)
        if declared.answer != "rows":
            remedy = "OptimoveFunctionOperator" if declared.reads else "the operator of this function"
            raise self._not_valid(f"function: {declared.name} returns no rows; use {remedy}")
        if declared.tells_secrets:
            raise self._not_valid(f"function: the rows of {declared.name} hold secrets; use OptimoveFunctionOperator")
        return declared

    def _layout(self, declared: Function, file: PlannedFile) -> FileLayout:
        from airflow_provider_optimove.transfers.planned_files import layout_of

        problems = []
        if isinstance(self.columns, str) or not all(isinstance(name, str) for name in self.columns or ()):
            problems.append(f"columns: expected a list of names, got {self.columns!r}")
        if not isinstance(self.rename or {}, Mapping) or not all(
            isinstance(name, str) for pair in (self.rename or {}).items() for name in pair
        ):
            problems.append(
                f"rename: expected an object with names in the file by the fields' names, got {self.rename!r}"
            )
        if problems:
            raise self._not_valid(*problems)
        file_format, _ = format_of(file.path, self.file_format)
        return layout_of(
            declared,
            file,
            file_format,
            columns=self.columns,
            rename=self.rename,
            attributes_as_fields=self.attributes_as_fields,
        )

    def _report_lineage(self, declared: Function, file: PlannedFile) -> None:
        from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

        collector: Any = get_hook_lineage_collector()  # type: ignore[no-untyped-call]
        server = urlsplit(self.hook.client.settings.http.base_url).netloc
        try:
            collector.add_input_asset(context=self.hook, uri=f"optimove://{server}/{declared.path}")
            collector.add_output_asset(context=self.hook, uri=uri_of(file.path))
        except ValueError as error:
            # Providers of storages check what a URI looks like; the file is there all the same.
            self.log.warning("%s: not reported as lineage: %s", shown_path(file.path), error)

    def _not_valid(self, *problems: str) -> OptimoveInputError:
        return OptimoveInputError("the arguments are not valid", function=self.function, problems=problems)


def _write_page(writer: RowWriter, page: Page, constants: Mapping[str, Any], *, as_they_came: bool) -> None:
    # The first page decides on columns, so that it must not be cut. Other lines are best not copied.
    for lines in page.pieces if as_they_came else (page.lines,):
        writer.write(lines, constants)
