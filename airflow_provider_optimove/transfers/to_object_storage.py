"""What all transfers into files share: the arguments of a file, how it is written, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from gzip import GzipFile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_optimove.exceptions import OptimoveInputError, RemoteSystemError
from airflow_provider_optimove.hooks.task_arguments import check_choices, got_text, is_text_of_value
from airflow_provider_optimove.storage.formats import FileFormat, format_of
from airflow_provider_optimove.storage.paths import location_of, shown_path, text_of_path, uri_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseHook, Context

    from airflow_provider_optimove.storage.row_writers import RowWriter
    from airflow_provider_optimove.storage.shaping import FileLayout, Kind

# Measured: higher levels take more time than a page takes to arrive.
GZIP_LEVEL = 3
# The first piece decides on the columns of what is not documented; a few of them are in memory.
PIECE_BYTES = 1024 * 1024


class Piece(NamedTuple):
    """Rows that go into a file together.

    :param lines: JSON Lines in one part or several: an object a line, no newline at the end of a part.
    :param rows: how many lines there are.
    :param constants: a value for each of the layout's constants.
    """

    lines: Sequence[bytes]
    rows: int
    constants: Mapping[str, Any] = MappingProxyType({})


Pieces = Generator[Piece, None, Mapping[str, Any]]
"""The rows of a file. What the generator returns is told beside their number (``{"pages": 3}``); whole numbers in it
are counts, which the log names, too."""


class ToObjectStorageOperator(BaseOperator):
    """Base of the operators that read rows into a file: JSON Lines, CSV or Parquet.

    A file appears under its name only when it is complete. What comes next is read while the last piece is written, and
    memory holds a few pieces, whatever the number of rows.

    For another system, a subclass has its own arguments, ``function``, ``hook``, and the methods ``fields``, ``source``
    and ``pieces``.

    :param path: a local path, or a URI that Airflow's ObjectStoragePath knows; ends in ``.jsonl``, ``.ndjson``,
        ``.csv`` (each also with ``.gz``) or ``.parquet``. Missing folders are made.
    :param file_format: ``jsonl``, ``csv`` or ``parquet``; None: as the path ends.
    :param columns: the only fields to keep, in this order; also undocumented ones, and ``OtherFields``. None: all.
    :param rename: names in the file, by the fields' own names.
    :param overwrite: whether a file that is there may be replaced.
    :param object_storage_conn_id: the Airflow connection of the storage.
    :returns: (XCom) ``{"path", "rows", "bytes", …}``. An asset among the task's outlets gets the same without the path
        on its event.
    :raises OptimoveInputError: arguments that are not valid; nothing was called.
    """

    function: str
    """What is read, as a log and an error name it. Known before the base's ``__init__`` runs."""

    template_fields: Sequence[str] = ("path", "columns", "rename", "object_storage_conn_id")

    def __init__(
        self,
        *,
        path: str,
        file_format: FileFormat | None = None,
        columns: Sequence[str] | None = None,
        rename: Mapping[str, str] | None = None,
        overwrite: bool = True,
        object_storage_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choices(self.function, file_format=(file_format, (None, *get_args(FileFormat))))
        self.path = path
        self.file_format = file_format
        self.columns = columns
        self.rename = rename
        self.overwrite = overwrite
        self.object_storage_conn_id = object_storage_conn_id

    @property
    def hook(self) -> BaseHook:
        """The hook of the connection that is read from."""
        raise NotImplementedError

    def fields(self) -> Mapping[str, Kind]:
        """The documented fields of the rows, in order."""
        raise NotImplementedError

    def source(self) -> str:
        """The URI of what is read, for the lineage; no secrets. Asked before anything is read."""
        raise NotImplementedError

    def pieces(self) -> Pieces:
        """Read the rows. Runs in threads; whatever it raises, no file is there."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Read the rows and write what they go into."""
        from airflow_provider_optimove.hooks.asset_events import add_to_asset_events
        from airflow_provider_optimove.hooks.task_errors import permanent_errors_end_the_task

        with permanent_errors_end_the_task():
            result = self.transfer()
            add_to_asset_events(context, self.outlets, self.asset_facts(result))
        return result

    def transfer(self) -> Any:
        """Read and write; returns what the task returns."""
        with named(self.function):
            path = self.path_text()
            layout = self._layout()
            source = self.source()
            self.check_that_none_exists([path])
            result = self.write_file(path, layout, self.pieces())
        self.report_lineage(source, path)
        return result

    def asset_facts(self, result: Any) -> Mapping[str, Any]:
        """What of the result is told to those who wait for the task's assets."""
        return {name: value for name, value in result.items() if name != "path"}

    def path_text(self) -> str:
        """The path as text."""
        path = text_of_path(self.path)
        if path is None:
            raise self.not_valid(f"path: expected the path of a file, got {type(self.path).__name__}")
        return path

    def check_names(self) -> None:
        """Check that the names of columns are names."""
        problems = []
        if isinstance(self.columns, str) or not all(isinstance(name, str) for name in self.columns or ()):
            problems.append(f"columns: expected a list of names, {_got(self.columns, 'list')}")
        if not isinstance(self.rename or {}, Mapping) or not all(
            isinstance(name, str) for pair in (self.rename or {}).items() for name in pair
        ):
            problems.append(
                f"rename: expected an object with names in the file by the fields' names, {_got(self.rename, 'object')}"
            )
        if problems:
            raise self.not_valid(*problems)

    def check_that_none_exists(self, paths: Iterable[str]) -> None:
        """Look before anything is read whether files are there that must not be replaced."""
        from airflow_provider_optimove.storage.paths import storage_path

        if self.overwrite:
            return
        told = "exists, and overwrite is false; an earlier try of this task may have written it"
        there = [path for path in paths if storage_path(path, self.object_storage_conn_id).exists()]
        if there:
            raise self.not_valid(*(f"path: {shown_path(path)} {told}" for path in there))

    def write_file(self, path: str, layout: FileLayout, pieces: Pieces) -> dict[str, Any]:
        """Write one file.

        :param path: where.
        :param layout: what it holds.
        :param pieces: its rows; not begun before the file can be written.
        :returns: ``{"path", "rows", "bytes"}``, and what the pieces return.
        """
        from airflow_provider_optimove.clients.fetch_ahead import fetched_ahead
        from airflow_provider_optimove.storage.row_writers import row_writer
        from airflow_provider_optimove.storage.whole_file import whole_file

        file_format, compressed = format_of(path, self.file_format)
        as_they_came = file_format == "jsonl" and not layout.shapes and not layout.constants
        started = time.monotonic()
        rows = 0
        facts: dict[str, Any] = {}
        with whole_file(path, self.object_storage_conn_id, overwrite=self.overwrite) as whole:
            # Without a name and a time, equal rows make equal files.
            gzip = GzipFile("", "wb", GZIP_LEVEL, whole, mtime=0) if compressed else nullcontext(whole)
            with gzip as content:
                writer = row_writer(content, file_format, layout)
                for piece in fetched_ahead(_and_their_facts(pieces, facts)):
                    _write_piece(writer, piece, as_they_came=as_they_came)
                    rows += piece.rows
                    # Not to be held while the next one arrives.
                    del piece
                writer.finish()
        size = whole.tell()
        counts = {"rows": rows, "bytes": size, **{name: fact for name, fact in facts.items() if type(fact) is int}}
        self.log.info(
            "%s: %s, %s rows/s: %s",
            self.function,
            ", ".join(f"{count:,} {name.removesuffix('s') if count == 1 else name}" for name, count in counts.items()),
            f"{rows / (time.monotonic() - started):,.0f}",
            shown_path(path),
        )
        return {"path": location_of(path), "rows": rows, "bytes": size, **facts}

    def report_lineage(self, source: str, path: str) -> None:
        """Tell what a file was made of.

        :param source: the URI of what was read.
        :param path: the file.
        """
        from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

        collector: Any = get_hook_lineage_collector()  # type: ignore[no-untyped-call]
        try:
            collector.add_input_asset(context=self.hook, uri=source)
            collector.add_output_asset(context=self.hook, uri=uri_of(path))
        except ValueError as error:
            # Providers of storages check what a URI looks like; the file is there all the same.
            self.log.warning("%s: not reported as lineage: %s", shown_path(path), error)

    def not_valid(self, *problems: str) -> OptimoveInputError:
        """An error about the arguments."""
        return OptimoveInputError("the arguments are not valid", function=self.function, problems=problems)

    def _layout(self) -> FileLayout:
        from airflow_provider_optimove.storage.shaping import FileLayout

        self.check_names()
        columns = None if self.columns is None else tuple(self.columns)
        return FileLayout(self.fields(), columns=columns, rename=self.rename or {})


def pieces_of(rows: Iterable[dict[str, Any]]) -> Iterator[Piece]:
    """Rows as pieces of a file.

    :param rows: the rows, which may hold what JSON holds, and decimals.
    """
    import msgspec

    encode = msgspec.json.Encoder(decimal_format="number").encode
    lines: list[bytes] = []
    size = 0
    for row in rows:
        lines.append(encode(row))
        size += len(lines[-1])
        if size >= PIECE_BYTES:
            yield Piece((b"\n".join(lines),), len(lines))
            lines, size = [], 0
    if lines:
        yield Piece((b"\n".join(lines),), len(lines))


@contextmanager
def named(function: str) -> Iterator[None]:
    """Name the function in errors of the block that name none."""
    try:
        yield
    except RemoteSystemError as error:
        error.function = error.function or function
        raise


def _got(argument: Any, expected: str) -> str:
    return got_text(expected) if is_text_of_value(argument) else f"got {argument!r}"


def _write_piece(writer: RowWriter, piece: Piece, *, as_they_came: bool) -> None:
    # The first piece decides on columns, so that it must not be cut. Other lines are best not copied.
    for lines in piece.lines if as_they_came else (b"\n".join(piece.lines),):
        writer.write(lines, piece.constants)


def _and_their_facts(pieces: Pieces, facts: dict[str, Any]) -> Iterator[Piece]:
    """The pieces; what they return is in ``facts`` at their end."""
    facts.update((yield from pieces))
