"""Rows of a write, read from a file as a stream: JSON Lines, a JSON array, CSV or Parquet."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.storage.formats import NO_PYARROW
from airflow_provider_optimove.storage.paths import shown_path, storage_path

if TYPE_CHECKING:
    from airflow_provider_optimove.clients.optimove.rows import Objects, Table, Unreadable

ENDINGS: tuple[str, ...] = (
    *(".jsonl", ".ndjson", ".json", ".csv"),
    *(".jsonl.gz", ".ndjson.gz", ".json.gz", ".csv.gz"),
    ".parquet",
)

File = BinaryIO | gzip.GzipFile

BLOCK_BYTES = 128 * 1024
# Measured: larger stretches are slower.
CSV_BLOCK_BYTES = 32 * 1024
CSV_ROWS = 500
PARQUET_ROWS = 1000

# JSON that is cut off is refused at most this many characters before its end; strings, which have an error of their
# own, at any distance.
LONGEST_CUT = 16
JSON_SPACE = " \t\n\r"
AFTER_ELEMENT = re.compile(r"[ \t\n\r]*([,\]])[ \t\n\r]*")


def is_path(text: str) -> bool:
    """Whether a text names a file that can be read: by its ending, in any letter case."""
    return text.lower().endswith(ENDINGS)


class RowFile:
    """The rows of a file, read as a stream each time they are iterated over.

    Lines without text do not count as rows. A JSON file that begins with an object is read as JSON Lines; a file
    without content has no rows.

    :param path: a local path, or a URI that Airflow's ObjectStoragePath knows.
    :param conn_id: the Airflow connection of the storage.
    :raises OptimoveInputError: while iterating, when the file cannot be read to its end.
    :raises FileNotFoundError: while iterating.
    """

    def __init__(self, path: str, conn_id: str | None = None) -> None:
        self._path = path
        self._conn_id = conn_id
        self._shown = shown_path(path)

    def __iter__(self) -> Iterator[Objects | Table]:
        if not is_path(self._path):
            raise OptimoveInputError(f"{self._shown}: the name ends with none of {', '.join(ENDINGS)}")
        name = self._path.lower()
        read = READERS[name.removesuffix(".gz").rpartition(".")[2]]
        with ExitStack() as opened:
            file: File = opened.enter_context(self._open())
            if name.endswith(".gz"):
                file = opened.enter_context(gzip.GzipFile(fileobj=file))
            try:
                yield from read(file, self._shown)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise OptimoveInputError(f"{self._shown}: the gzip file is damaged or cut off ({error})") from error

    def _open(self) -> BinaryIO:
        path = storage_path(self._path, self._conn_id)
        # Not path.open(): what it returns is no whole file on 2.11, and loads Airflow's plugins when it is read.
        file: BinaryIO = path.fs.open(path.path, "rb")
        return file


def _json_lines(file: File, name: str) -> Iterator[Objects]:
    yield from _objects_of_lines(_blocks(file))


def _objects_of_lines(blocks: Iterable[bytes]) -> Iterator[Objects]:
    import msgspec

    from airflow_provider_optimove.clients.optimove.rows import Objects

    decoder = msgspec.json.Decoder()
    byte_order_mark = codecs.BOM_UTF8
    for lines in _whole_lines(blocks):
        lines = lines.removeprefix(byte_order_mark)
        byte_order_mark = b""
        try:
            rows = decoder.decode_lines(lines)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            rows = []
        # decode_lines also takes two values on a line and a value on two lines, which a block may cut.
        if len(rows) != lines.count(b"\n") + (not lines.endswith(b"\n")):
            rows = [_decoded(line, decoder) for line in lines.split(b"\n") if line.strip()]
        if rows:
            yield Objects(rows)


def _decoded(line: bytes | str, decoder: Any) -> Any | Unreadable:
    import msgspec

    from airflow_provider_optimove.clients.optimove.rows import Unreadable

    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Unreadable(f"not valid JSON: {error}")


def _json(file: File, name: str) -> Iterator[Objects]:
    head = b""
    blocks = _blocks(file)
    for block in blocks:
        head = (head + block).removeprefix(codecs.BOM_UTF8).lstrip()
        if len(head) > len(codecs.BOM_UTF8):
            break
    if head.startswith(b"{"):
        yield from _objects_of_lines(chain([head], blocks))
    elif head.startswith(b"["):
        yield from _objects_of_array(chain([head[1:]], blocks), name)
    elif head:
        raise OptimoveInputError(f"{name}: row 1 cannot be read: the file is neither a JSON array nor JSON Lines")


def _objects_of_array(blocks: Iterable[bytes], name: str) -> Iterator[Objects]:
    """Elements of a JSON array whose bracket has been read."""
    import msgspec

    from airflow_provider_optimove.clients.optimove.rows import Objects

    decoder = msgspec.json.Decoder()
    # Says where an element ends; what it means is said by the decoder of all JSON.
    scan = json.JSONDecoder().raw_decode
    texts = codecs.iterdecode(blocks, "utf-8")
    text, start, count = "", 0, 0
    rows: list[Any] = []
    closed = False
    try:
        while not closed:
            try:
                if not count and text.startswith("]"):
                    start = 1
                    break
                _, end = scan(text, start)
                after = AFTER_ELEMENT.match(text, end)
                if not after:
                    junk = len(text) - len(text[end:].lstrip(JSON_SPACE))
                    raise json.JSONDecodeError("Expecting ',' delimiter", text, junk)
            except json.JSONDecodeError as error:
                if rows:
                    yield Objects(rows)
                    rows = []
                cut = error.pos >= len(text) - LONGEST_CUT or error.msg.startswith("Unterminated string")
                # As much again, so that an element of any length is tried a few times only.
                more = _joined(texts, at_least=len(text) - start) if cut else ""
                if not more:
                    ended = cut and not text[start:]
                    reason = f"{error.msg}: character {error.pos - start + 1:,} of the row"
                    raise ValueError("the array is not closed" if ended else reason) from None
                text = (text[start:] + more).lstrip(JSON_SPACE)
                rows, start = _elements_at_once(text)
                count += len(rows)
            else:
                rows.append(_decoded(text[start:end], decoder))
                count += 1
                start = after.end()
                closed = after[1] == "]"
        if rows:
            yield Objects(rows)
        if any(rest.strip(JSON_SPACE) for rest in chain([text[start:]], texts)):
            raise ValueError("something follows the end of the array")
    except (ValueError, RecursionError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise OptimoveInputError(f"{name}: row {count + 1:,} cannot be read: {reason}") from None


def _elements_at_once(text: str) -> tuple[list[Any], int]:
    """What a text begins with, up to the last ``},`` and at C speed. Nothing if that one is inside of an element.

    :returns: the elements, and where the next one begins.
    """
    import msgspec

    cut = text.rfind("},") + 1
    if not cut:
        return [], 0
    try:
        # The brackets match only if the cut is inside of no string, object or array.
        rows: list[Any] = msgspec.json.decode(f"[{text[:cut]}]")
    except (msgspec.DecodeError, RecursionError):
        return [], 0
    after = AFTER_ELEMENT.match(text, cut)
    return rows, after.end() if after else 0


def _csv(file: File, name: str) -> Iterator[Objects | Table]:
    lines_read, rows_read = 0, 0
    names: tuple[str, ...] | None = None
    blocks = _decoded_lines(file)
    try:
        for block in blocks:
            text = block.replace("\r\n", "\n")
            if '"' in text or "\r" in text:
                # From the first quote on, what is a line is known only to who has read all before it.
                rest = csv.reader(
                    chain.from_iterable(io.StringIO(part, newline="") for part in chain([block], blocks)),
                    # Not strict, a quote that is never closed would silently swallow the rest of the file.
                    strict=True,
                )
                rows = filter(None, rest)
                try:
                    if names is None:
                        if (header := next(rows, None)) is None:
                            break
                        names = _checked_names(header, name)
                    while cells := list(islice(rows, CSV_ROWS)):
                        yield _stretch_of_cells(names, cells)
                        rows_read += len(cells)
                finally:
                    lines_read += rest.line_num
                return
            lines_read += text.count("\n")
            if names is None:
                first, _, text = text.lstrip("\n").partition("\n")
                names = _checked_names(first.split(","), name) if first else None
            if names is not None and (stretch := _stretch_of_text(names, text)):
                yield stretch
                rows_read += len(stretch)
        if names is None:
            raise OptimoveInputError(f"{name}: the file is empty, and has not even a header")
    except (csv.Error, UnicodeDecodeError) as error:
        reason = str(error)
        if isinstance(error, UnicodeDecodeError):
            lines_read += error.object.count(b"\n", 0, error.start) + 1
            reason = "not UTF-8"
        raise OptimoveInputError(
            f"{name}: line {lines_read:,} cannot be read (row {rows_read + 1:,} or a later one): {reason}"
        ) from None


def _decoded_lines(file: File) -> Iterator[str]:
    byte_order_mark = codecs.BOM_UTF8
    for lines in _whole_lines(_blocks(file, CSV_BLOCK_BYTES)):
        yield lines.removeprefix(byte_order_mark).decode()
        byte_order_mark = b""


def _stretch_of_text(names: tuple[str, ...], text: str) -> Objects | Table:
    """Whole lines without quotes: their cells are what stands between the commas."""
    from airflow_provider_optimove.clients.optimove.rows import Table

    width = len(names)
    text = text.removesuffix("\n")
    if width == 1:
        cells = text.split("\n")
        if "," not in text and "" not in cells:
            return Table(names, (cells,), text=True)
    else:
        # With a cell of its own for each end of a line, rows of another width push these out of their column.
        cells = f"{text}\n".replace("\n", ",\n,").split(",")
        ends = cells[width :: width + 1]
        if ends.count("\n") == len(ends) == text.count("\n") + 1:
            return Table(names, [cells[column : -1 : width + 1] for column in range(width)], text=True)
    return _stretch_of_cells(names, [line.split(",") for line in text.split("\n") if line])


def _stretch_of_cells(names: tuple[str, ...], rows: list[list[str]]) -> Objects | Table:
    from airflow_provider_optimove.clients.optimove.rows import Objects, Table, Unreadable

    width = len(names)
    if set(map(len, rows)) == {width}:
        return Table(names, tuple(zip(*rows, strict=True)), text=True)
    return Objects(
        [
            {name: cell for name, cell in zip(names, row, strict=True) if cell}
            if len(row) == width
            else Unreadable(f"{len(row)} cell{'' if len(row) == 1 else 's'}, the header has {width}")
            for row in rows
        ]
    )


def _parquet(file: File, name: str) -> Iterator[Table]:
    from airflow_provider_optimove.clients.optimove.rows import Table

    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise OptimoveInputError(f"{name}: {NO_PYARROW}") from None
    count = 0
    try:
        rows = parquet.ParquetFile(file)
        names = _checked_names(rows.schema_arrow.names, name)
        for batch in rows.iter_batches(batch_size=PARQUET_ROWS):
            yield Table(names, [column.to_pylist() for column in batch.columns])
            count += len(batch)
    except OptimoveInputError:
        raise
    except (pyarrow.ArrowException, ValueError) as error:
        raise OptimoveInputError(f"{name}: row {count + 1:,} or a later one cannot be read: {error}") from error


def _checked_names(header: Iterable[str], name: str) -> tuple[str, ...]:
    names = tuple(column.strip() for column in header)
    problems = []
    numbers: dict[str, int] = {}
    for number, column in enumerate(names, start=1):
        if not column:
            problems.append(f"column {number} has no name")
        elif (first := numbers.setdefault(column.lower(), number)) != number:
            problems.append(f"columns {first} and {number} have the same name: {column}")
    if len(names) == 1 and re.search(r"[;\t]", names[0]):
        problems.append("the columns must be separated by commas")
    if problems:
        raise OptimoveInputError(f"{name}: the header is not valid", problems=problems)
    return names


def _blocks(file: File, size: int | None = None) -> Iterator[bytes]:
    return iter(partial(file.read, size or BLOCK_BYTES), b"")


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, cut only after a newline."""
    line: list[bytes] = []
    for block in blocks:
        cut = block.rfind(b"\n") + 1
        if cut:
            yield b"".join([*line, block[:cut]])
            line = []
        line.append(block[cut:])
    yield b"".join(line)


def _joined(texts: Iterator[str], at_least: int) -> str:
    """The next texts as one; empty only at the end.

    :param at_least: characters, where there are as many.
    """
    parts: list[str] = []
    length = 0
    for text in texts:
        parts.append(text)
        length += len(text)
        if length >= at_least:
            break
    return "".join(parts)


READERS: dict[str, Callable[[File, str], Iterator[Objects | Table]]] = {
    "jsonl": _json_lines,
    "ndjson": _json_lines,
    "json": _json,
    "csv": _csv,
    "parquet": _parquet,
}
