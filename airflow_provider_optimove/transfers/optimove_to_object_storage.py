"""Rows of Optimove's functions → files, on this machine or in an object storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from airflow_provider_optimove.exceptions import OptimoveError
from airflow_provider_optimove.hooks.task_arguments import check_choices
from airflow_provider_optimove.storage.formats import format_of
from airflow_provider_optimove.storage.paths import shown_path
from airflow_provider_optimove.transfers.to_object_storage import Piece, Pieces, ToObjectStorageOperator, named

if TYPE_CHECKING:
    from airflow_provider_optimove.clients.optimove.functions import Function
    from airflow_provider_optimove.clients.optimove.pages import Page
    from airflow_provider_optimove.hooks.optimove import OptimoveHook
    from airflow_provider_optimove.storage.shaping import FileLayout
    from airflow_provider_optimove.transfers.data_changes import DataChanges
    from airflow_provider_optimove.transfers.planned_files import PlannedFile


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


class OptimoveToObjectStorageOperator(ToObjectStorageOperator):
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
        *("optimove_conn_id", "function", "parameters"),
        *ToObjectStorageOperator.template_fields,
    )

    def __init__(
        self,
        *,
        function: str,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        page_size: int | None = None,
        attributes_as_fields: bool | None = None,
        on_data_update: Literal["warn", "fail"] = "warn",
        optimove_conn_id: str = "optimove_default",
        **kwargs: Any,
    ) -> None:
        self.function = function
        super().__init__(**kwargs)
        check_choices(function, on_data_update=(on_data_update, ("warn", "fail")))
        self.parameters = parameters
        self.page_size = page_size
        self.attributes_as_fields = attributes_as_fields
        self.on_data_update = on_data_update
        self.optimove_conn_id = optimove_conn_id

    @cached_property
    def hook(self) -> OptimoveHook:
        """The hook of the connection."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        return OptimoveHook(self.optimove_conn_id)

    def source(self) -> str:
        """The function's URI."""
        server = urlsplit(self.hook.client.settings.http.base_url).netloc
        return f"optimove://{server}/{self._declared().path}"

    def transfer(self) -> dict[str, Any] | list[dict[str, Any]]:
        """Make the calls and write the files."""
        from airflow_provider_optimove.transfers.data_changes import DataChanges
        from airflow_provider_optimove.transfers.planned_files import has_placeholder, planned_files

        declared = self._declared()
        path = self.path_text()
        planned = planned_files(declared, self.parameters, path)
        # The arguments of all calls are checked before the first is made.
        reads = list(self._reads(declared, planned))
        self.check_that_none_exists(file.path for file in planned)
        changes = None
        if declared.paged and reads:
            changes = DataChanges(self.hook.client, declared.name, fail=self.on_data_update == "fail")
        results: list[dict[str, Any]] = []
        for read in reads:
            with named(declared.name):
                pieces = self._pieces(read, changes, written=len(results), is_last=read is reads[-1])
                results.append(self.write_file(read.file.path, read.layout, pieces))
            self.report_lineage(self.source(), read.file.path)
        if not has_placeholder(path) or isinstance(self.parameters, Mapping):
            return results[0]
        rows = sum(result["rows"] for result in results)
        self.log.info("%s: files: %s, rows: %s", self.function, f"{len(results):,}", f"{rows:,}")
        return results

    def asset_facts(self, result: dict[str, Any] | list[dict[str, Any]]) -> Mapping[str, int]:
        """The sums of all files."""
        results = result if isinstance(result, list) else [result]
        return {name: sum(one[name] for one in results) for name in ("rows", "bytes", "pages")}

    def _reads(self, declared: Function, planned: Sequence[PlannedFile]) -> Iterator[_Read]:
        from airflow_provider_optimove.clients.optimove.paging import DEFAULT_PAGE
        from airflow_provider_optimove.transfers.planned_files import shown_call

        page_size = DEFAULT_PAGE if self.page_size is None else self.page_size
        count = 1 if isinstance(self.parameters, Mapping | None) else len(self.parameters)
        for file in planned:
            layout = self._layout_of(declared, file)
            calls = []
            for number, arguments in zip(file.numbers, file.calls, strict=True):
                shown = f"call {number:,} of {count:,}{shown_call(declared, arguments)}" if count > 1 else ""
                constants = {column: arguments.get(file.arguments[column]) for column in layout.constants}
                pages = self.hook.client.pages(declared.name, arguments, page_size=page_size)
                calls.append(_Call(shown, constants, pages))
            yield _Read(file, layout, calls)

    def _pieces(self, read: _Read, changes: DataChanges | None, *, written: int, is_last: bool) -> Pieces:
        """The pages of one call after the other."""
        count = 0
        for call in read.calls:
            if call.shown:
                self.log.info("%s: %s", self.function, call.shown)
            try:
                for page in call.pages:
                    yield Piece(page.pieces, page.rows, call.constants)
                    count += 1
                    del page
            except OptimoveError as error:
                if call.shown:
                    error.add(call.shown)
                raise
        if changes is not None and (count > 1 or (is_last and written)):
            changes.check(shown_path(read.file.path), written)
        return {"pages": count}

    def _declared(self) -> Function:
        from airflow_provider_optimove.clients.optimove.arguments import find_function

        declared = find_function(self.function)
        if declared.answer != "rows":
            remedy = "OptimoveFunctionOperator" if declared.reads else "the operator of this function"
            raise self.not_valid(f"function: {declared.name} returns no rows; use {remedy}")
        if declared.tells_secrets:
            raise self.not_valid(f"function: the rows of {declared.name} hold secrets; use OptimoveFunctionOperator")
        return declared

    def _layout_of(self, declared: Function, file: PlannedFile) -> FileLayout:
        from airflow_provider_optimove.transfers.planned_files import layout_of

        self.check_names()
        file_format, _ = format_of(file.path, self.file_format)
        return layout_of(
            declared,
            file,
            file_format,
            columns=self.columns,
            rename=self.rename,
            attributes_as_fields=self.attributes_as_fields,
        )
