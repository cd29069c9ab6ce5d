"""The rows of an answer, told apart but not decoded. Bytes in, pages out."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from airflow_provider_optimove.clients.answers import BYTE_ORDER_MARK

LONGEST_OPENING = 100

_raw_rows = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True)
class Page:
    """Rows that are not decoded; ``len()`` tells how many.

    :param pieces: JSON Lines: one object a line as it came, UTF-8, without a newline at the end of a piece. Where they
        are cut depends on how they arrived.
    :param rows: how many lines there are.
    """

    pieces: tuple[bytes, ...] = field(repr=False)
    rows: int

    def __len__(self) -> int:
        return self.rows

    @property
    def lines(self) -> bytes:
        """All pieces as one."""
        return self.pieces[0] if len(self.pieces) == 1 else b"\n".join(self.pieces)


class PageReader:
    """Splits an array of objects into lines as it arrives. What has another form is kept, to be judged as a whole."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._rows = 0
        self._rest: list[bytes] = []
        self._splits = True

    def read(self, piece: bytes) -> None:
        """Take the next bytes."""
        # Where a row ends, unless that is inside of one; what then comes out is no valid array.
        cut = piece.rfind(b"},{") + 1 if self._splits else 0
        page = None
        if cut:
            page = page_of(b"".join([*self._opening(), *self._rest, piece[:cut], b"]"]))
            # Not tried again: rows that nest would be parsed over and over.
            self._splits = page is not None
        if page is None:
            self._rest.append(piece)
        else:
            self._pieces += page.pieces
            self._rows += page.rows
            self._rest = [piece[cut + 1 :]]

    def end(self) -> tuple[bytes, Page | None]:
        """The whole body, or the page that it is."""
        last = page_of(b"".join([*self._opening(), *self._rest]))
        if last is not None:
            return b"", Page((*self._pieces, *last.pieces), self._rows + last.rows)
        before = [piece.replace(b"\n", b",") + b"," for piece in self._pieces]
        return b"".join([*self._opening(), *before, *self._rest]), None

    def _opening(self) -> list[bytes]:
        return [b"["] if self._pieces else []


def page_of(body: bytes) -> Page | None:
    """The rows of an answer that is an array of objects; None where it is something else, or holds none."""
    text = body.removeprefix(BYTE_ORDER_MARK).strip()
    try:
        rows = _raw_rows.decode(text)
        if b"\n" in text or b"\r" in text:
            # White space, which may stand inside of rows, too: in a string it would be escaped.
            rows = [msgspec.Raw(msgspec.json.format(row, indent=-1)) for row in rows]
        lines = b"\n".join(rows)
        # Skipping over a string does not look at its characters.
        lines.isascii() or lines.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Page((lines,), len(rows)) if _are_objects(lines, len(rows)) else None


def _are_objects(lines: bytes, count: int) -> bool:
    if not lines.startswith(b"{"):
        return False
    # Mostly all begin like the first, and a longer text is counted faster.
    opening = lines[: lines.find(b":", 0, LONGEST_OPENING) + 1] or b"{"
    return lines.count(b"\n" + opening) == count - 1 or lines.count(b"\n{") == count - 1
