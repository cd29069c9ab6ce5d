"""An Optimove with one large function: every page is there before it is asked for.

A campaign's number is the number of its rows, at most those of ``--rows``. Prints its address, and ends with its
standard input::

    python -m tests.benchmarks.page_server --rows 1000000 --latency 0.05
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from itertools import cycle, islice, product
from urllib.parse import parse_qs, urlsplit

from tests.benchmarks.fast_server import FastServer, head_of

FUNCTION = "/current/customers/GetCustomerExecutionDetailsByCampaign"
ANSWERS = {"/current/general/GetLastDataUpdate": b'{"Date":"2026-11-20"}'}
ROWS_AT_ONCE = 100_000


class PageServer(FastServer):
    """Every page is a part of one text, as all rows are of the same length.

    :param count: rows to keep ready.
    :param latency: seconds before each answer.
    """

    def __init__(self, count: int, latency: float) -> None:
        super().__init__()
        self._latency = latency
        self._rows = memoryview(joined_rows(count))
        self._width = len(self._rows) // count

    def handle(self, connection: socket.socket, request: bytearray, body: int, end: int) -> None:
        target = urlsplit(bytes(request[: request.index(b"\r\n")]).split()[1].decode())
        time.sleep(self._latency)
        if target.path != FUNCTION:
            answer = ANSWERS.get(target.path, b"")
            connection.sendall(head_of(len(answer), "200 OK" if answer else "404 Not Found") + answer)
            return
        query = {name.lower(): int(value) for name, (value,) in parse_qs(target.query).items()}
        first = query.get("$skip", 0)
        last = max(first, min(first + query["$top"], query["campaignid"]))
        # Without the comma behind the last row.
        page = self._rows[first * self._width : max(first * self._width, last * self._width - 1)]
        connection.sendall(head_of(len(page) + len("[]")) + b"[")
        connection.sendall(page)
        connection.sendall(b"]")


def joined_rows(count: int) -> bytearray:
    """Rows as Optimove writes them, each with a comma behind it, of the customers C00000001 and so on."""
    kinds = product((3, 4, 5), (504, 505), (50_402, 50_403), range(10, 60), ("SPRING", "SUMMER", "WINTER"))
    parts = [
        json.dumps(
            {
                "ActionID": action,
                "ChannelID": channel,
                "TemplateID": template,
                "ScheduleTime": f"2026-11-20 10:{minute}:00",
                "PromoCode": promo_code,
            },
            separators=(",", ":"),
        ).removeprefix("{")
        for action, channel, template, minute, promo_code in kinds
    ]
    text = bytearray()
    rest_of_row = cycle(parts)
    for start in range(0, count, ROWS_AT_ONCE):
        numbers = range(start + 1, min(start + ROWS_AT_ONCE, count) + 1)
        some = islice(rest_of_row, len(numbers))
        text += "".join(f'{{"CustomerID":"C{n:08d}",{rest},' for n, rest in zip(numbers, some, strict=True)).encode()
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--latency", type=float, default=0.0)
    options = parser.parse_args()
    PageServer(options.rows, options.latency).serve_until_input_ends()
