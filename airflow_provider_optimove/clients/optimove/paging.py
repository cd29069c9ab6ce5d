"""Reading page after page until there is surely nothing left. No I/O: a caller fetches what this asks for."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

LARGEST_PAGE = 200_000
SERVER_PAGE = 10_000
DEFAULT_PAGE = 50_000


class PagingIgnoredError(Exception):
    """The server does not page as asked, so that rows would be missing or doubled."""


@dataclass
class Paging:
    """The state of one paged read.

    :param page_size: rows asked for a page.
    :param received_rows: rows received so far.
    :param finished: whether the last page was received.
    :param unpaged: whether the server refused ``$top``, so that one call without it has to do.
    :param pages: how many pages were received.
    """

    page_size: int
    received_rows: int = 0
    finished: bool = False
    unpaged: bool = False
    pages: int = 0
    _previous: Hashable = field(default=None, repr=False)

    def parameters(self) -> dict[str, int]:
        """``$top`` and ``$skip`` of the next page."""
        if self.unpaged:
            return {}
        return {"$top": self.page_size, **({"$skip": self.received_rows} if self.received_rows else {})}

    def received(self, rows: int, checksum: Hashable) -> None:
        """Note a page.

        :param rows: how many rows it held.
        :param checksum: what recognises a page that comes again.
        :raises PagingIgnoredError: the server ignores ``$top`` or ``$skip``, or may have cut an unpaged answer off.
        """
        self.pages += 1
        if self.unpaged:
            if rows == SERVER_PAGE:
                raise PagingIgnoredError(
                    f"the server takes no $top here and returned exactly {SERVER_PAGE:,} rows: some may be missing"
                )
            self.received_rows = rows
            self.finished = True
            return
        if rows > self.page_size:
            raise PagingIgnoredError(f"asked for {self.page_size:,} rows, received {rows:,}: the server ignores $top")
        if rows and checksum == self._previous:
            raise PagingIgnoredError(
                f"the page after {self.received_rows:,} rows repeats the one before: $skip is ignored"
            )
        self._previous = checksum
        self.received_rows += rows
        # No account cuts pages to less than the server's default.
        # A page is only surely the last when neither $top nor the server's own page can have cut it.
        self.finished = rows < min(self.page_size, SERVER_PAGE)
