"""The event listener: an ASGI app in Airflow's API server that takes what Optimove sends."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocketClose

from airflow_provider_optimove.assets.events import OF_A_CAMPAIGN, OptimoveEvent, event_word, key_of
from airflow_provider_optimove.exceptions import OptimoveInputError, OptimoveResponseError
from airflow_provider_optimove.webhook.address import SECRET_PARAMETER, URL_PREFIX
from airflow_provider_optimove.webhook.asset_events import NOBODY, ONLY_PAUSED, TooLate, record
from airflow_provider_optimove.webhook.body import LARGEST_BODY, payload_of
from airflow_provider_optimove.webhook.heard_connection import ConnectionUnknown, HeardConnections

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)

LONGEST_BODY_TIME = 10.0
LONGEST_RECORDING = 10.0
THREADS = 4
MOST_WAITING = 100
MOST_PARAMETERS = 20
WARN_AGAIN_AFTER = 60.0

_PLACE = re.compile("/events/(.+)/([1-9][0-9]?)")


class Refused(Exception):
    """A request that is not taken.

    :param status: of the answer.
    :param reason: text of the answer.
    :param warning: what the log says of it, once a minute.
    :param headers: further headers of the answer.
    """

    def __init__(self, status: int, reason: str, *, warning: str | None = None, **headers: str) -> None:
        super().__init__(reason)
        self.warning = warning
        # What else comes of the request is not waited for.
        headers["Connection"] = "close"
        self.answer = PlainTextResponse(reason, status, headers)


class EventListener:
    """Turns deliveries into asset events; answers 200 once they are in the database.

    :param conn_ids: the Airflow connections that are heard, at least one.
    """

    def __init__(self, conn_ids: Sequence[str]) -> None:
        self._conn_ids = conn_ids
        self._heard = HeardConnections(conn_ids)
        self._warned_at: dict[str, float] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="optimove-listener")
        self._places = BoundedSemaphore(THREADS + MOST_WAITING)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, query = scope["path"], scope["query_string"]
        # Whatever place a request has a secret in, the web server's log shall not show it.
        scope.update(path=f"{URL_PREFIX}/***", query_string=b"")
        if scope["type"] != "http":
            await WebSocketClose()(scope, receive, send)
            return
        try:
            if scope["method"] != "POST":
                raise Refused(405, "POST only", Allow="POST")
            conn_id, event_type = _place(path, scope.get("root_path", ""))
            await self._authenticate(conn_id, _secret(query))
            scope["path"] = path
            answer = await self._answer(conn_id, event_type, await _body(Request(scope, receive)))
        except Refused as refused:
            if refused.warning:
                self._warn(refused.warning)
            answer = refused.answer
        except ClientDisconnect:
            return
        await answer(scope, receive, send)

    def _warn(self, warning: str) -> None:
        """Log what anybody can cause, at most once a minute."""
        now = time.monotonic()
        if now - self._warned_at.get(warning, -math.inf) > WARN_AGAIN_AFTER:
            self._warned_at[warning] = now
            log.warning("%s; more of these are not logged for %g s", warning, WARN_AGAIN_AFTER)

    async def _authenticate(self, conn_id: str, secret: str) -> None:
        try:
            if await self._heard.accepts(conn_id, secret):
                return
        except ConnectionUnknown:
            raise Refused(503, "cannot tell now", **{"Retry-After": "10"}) from None
        # The name of one that is not heard is whatever a stranger wrote.
        named = f"connection {conn_id}" if conn_id in self._conn_ids else "connections that are not heard"
        warning = f"A request for {named} was refused: it had not the secret"
        raise Refused(403, "no such connection, or not its secret", warning=warning)

    async def _answer(self, conn_id: str, event_type: int, body: bytes) -> PlainTextResponse:
        try:
            # A large body would hold up everything else of the API server.
            event = await asyncio.to_thread(_event_of, body, event_type)
        except (OptimoveInputError, OptimoveResponseError) as error:
            log.warning("Event %s of %s refused: %s", event_word(event_type), conn_id, error.message)
            raise Refused(400, error.message) from None
        outcome = await self._record(event_type, conn_id, event)
        unheard = outcome in (NOBODY, ONLY_PAUSED)
        log.log(
            logging.WARNING if unheard else logging.INFO, "%s of %s: %s", _told(event_type, event), conn_id, outcome
        )
        return PlainTextResponse(NOBODY if unheard else outcome)

    async def _record(self, event_type: int, conn_id: str, event: OptimoveEvent) -> str:
        if not self._places.acquire(blocking=False):
            warning = f"Events were refused: {MOST_WAITING} wait for the database already"
            raise Refused(503, "too many at once", warning=warning, **{"Retry-After": "1"})
        deadline = time.monotonic() + LONGEST_RECORDING
        work = self._threads.submit(record, event_type, conn_id, event, deadline)
        work.add_done_callback(lambda _: self._places.release())
        try:
            async with asyncio.timeout(LONGEST_RECORDING):
                return await asyncio.wrap_future(work)
        except (TimeoutError, TooLate):
            # A commit that is under way goes on.
            reason = f"not within {LONGEST_RECORDING:g} s, it may have been recorded"
        except Exception as error:
            # Its text can hold the event.
            log.warning("The database failed: %s", type(getattr(error, "orig", None) or error).__name__)
            reason = "the database failed, it may have been recorded"
        log.warning("%s of %s: %s", _told(event_type, event), conn_id, reason)
        raise Refused(503, reason, **{"Retry-After": "1"})


def _place(path: str, mounted_at: str) -> tuple[str, int]:
    """Connection and event type of a request's path."""
    # A proxy may have cut off the path of the API server's address.
    prefix = mounted_at if path.startswith(f"{mounted_at}/") else URL_PREFIX
    found = _PLACE.fullmatch(path.removeprefix(prefix))
    if not found:
        raise Refused(404, "no such place")
    return found[1], int(found[2])


def _secret(query: bytes) -> str:
    try:
        parameters = parse_qsl(query.decode(), keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        return ""
    secrets = [value for name, value in parameters if name == SECRET_PARAMETER]
    return secrets[0] if len(secrets) == 1 else ""


async def _body(request: Request) -> bytes:
    announced = request.headers.get("content-length", "")
    too_large = Refused(
        413,
        f"more than {LARGEST_BODY:,} bytes",
        warning=f"A request with the secret was refused: its body has more than {LARGEST_BODY:,} bytes",
    )
    if announced.isdecimal() and int(announced) > LARGEST_BODY:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(LONGEST_BODY_TIME):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_BODY:
                    raise too_large
    except TimeoutError:
        warning = f"A request with the secret was refused: its body was not whole within {LONGEST_BODY_TIME:g} s"
        raise Refused(408, f"not whole within {LONGEST_BODY_TIME:g} s", warning=warning) from None
    return bytes(body)


def _event_of(body: bytes, event_type: int) -> OptimoveEvent:
    event = OptimoveEvent.from_payload(payload_of(body), event_type)
    if event.event_type != event_type:
        raise OptimoveResponseError("EventTypeID: not that of the URL")
    event.check()
    key_of(event)
    return event


def _told(event_type: int, event: OptimoveEvent) -> str:
    """An event as the log shows it: nothing of a customer's."""
    word = event_word(event_type)
    if event_type not in OF_A_CAMPAIGN:
        return f"Event {word}"
    return f"Event {word}, campaign {event.campaign_id}, channel {event.channel_id}"
