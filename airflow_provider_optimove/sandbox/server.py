"""The sandbox: an Optimove on localhost over real HTTP."""

from __future__ import annotations

import datetime
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from email.message import Message
from http import HTTPStatus
from typing import Any

from airflow_provider_optimove.clients.optimove.functions import Function, catalogue, names_without_case
from airflow_provider_optimove.sandbox.account import Account
from airflow_provider_optimove.sandbox.answers import NOTHING, answer
from airflow_provider_optimove.sandbox.events import Delivery, check_addresses, drifted_event, event_of, post_event
from airflow_provider_optimove.sandbox.limits import RateLimit
from airflow_provider_optimove.sandbox.rows import CustomerRows, encode
from airflow_provider_optimove.sandbox.serving import PLAIN, Refused, Reply, StandIn, query_of, same
from airflow_provider_optimove.sandbox.sessions import EXPIRED, Sessions
from airflow_provider_optimove.sandbox.wire import DEFAULT_PAGE, read, row_count, target

DEFAULT_KEY = "sandbox-key"
DEFAULT_USER = "sandbox"
FIRE_PATH = "/sandbox/fire"
DATA_PATH = "/sandbox/data"
"""What the command line posts to, so that a running sandbox fires an event: the arguments of ``fire_event`` as JSON."""

UNDOCUMENTED_PAGING = ("GetMicrosegmentChangers", "GetCustomersByValueSegment", "GetValueSegmentChangers")
"""Functions of customers outside the customer group: the guide does not say that they page."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """What is remembered of a call.

    :param function: Optimove's name; what the caller wrote where there is no such function.
    :param verb: HTTP verb.
    :param query: the query's parameters as they were written.
    :param rows: how many rows the body carried.
    :param user_agent: what the caller says it is.
    :param with_key: whether an API key was sent.
    :param with_token: whether a session token was sent.
    :param status: HTTP status of the reply; None when the connection was dropped instead.
    :param time: when the call arrived, in seconds of the sandbox's clock.
    """

    function: str
    verb: str
    query: Mapping[str, str]
    rows: int
    user_agent: str
    with_key: bool
    with_token: bool
    status: int | None
    time: float


class OptimoveSandbox(Account, StandIn[Call]):
    """An Optimove on localhost, to try things out and for tests. A context manager, or ``start()`` and ``stop()``.

    What was written is in the attributes of :class:`Account`, what was asked in ``calls``; ``fail()`` makes calls go
    wrong. ``fire_event()`` posts an event to the registered listeners, ``deliveries`` tells how they answered. These
    switches, and those of ``sessions`` and :class:`Account`, may be set at any time:

    * ``rate_limit``: calls/seconds, e.g. ``50/10,2000/3600``; empty, as at first: no limit
    * ``retry_after``: seconds that a 429 of the rate limit tells; None: it tells nothing
    * ``row_limits``: the most rows one call takes, by function; at first those of the guide
    * ``clamp_top``: no page has more rows than this; None: 200,000
    * ``ignore_skip``: whether every page is the first one
    * ``refuse_top``: names of functions that answer ``$top`` with 400, e.g. ``UNDOCUMENTED_PAGING``
    * ``drift``: whether ids come as strings and some keys in their other spellings
    * ``error_style``: errors as bare ``text``, as a JSON ``string`` or as a JSON ``object``

    :param port: port on 127.0.0.1; 0 takes a free one.
    :param customers: how many customers there are.
    :param seed: another seed, another account.
    :param api_key: the key it accepts.
    :param login: the user name that Login accepts.
    :param password: that user's password.
    :param last_data_update: what GetLastDataUpdate tells, a date or ``YYYY-MM-DD``; None for yesterday (UTC). Can be
        set later.
    :param today: the date it takes for today; None for the real one (UTC).
    :param clock: what tells the seconds, for tokens and limits.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        customers: int = 1000,
        seed: int = 0,
        api_key: str = DEFAULT_KEY,
        login: str = DEFAULT_USER,
        password: str = DEFAULT_USER,
        last_data_update: datetime.date | str | None = None,
        today: datetime.date | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        Account.__init__(self, customers=customers, seed=seed, last_data_update=last_data_update, today=today)
        StandIn.__init__(self, port, clock)
        self.api_key = api_key
        self.login = login
        self.password = password
        self.sessions = Sessions(clock)
        self.deliveries: list[Delivery] = []
        self._events_fired = 0
        self.row_limits: dict[str, int | None] = {name: f.max_rows for name, f in catalogue().items() if f.max_rows}
        self.retry_after: float | None = None
        self.clamp_top: int | None = None
        self.ignore_skip = False
        self.refuse_top: tuple[str, ...] = ()
        self.drift = False
        self.error_style = "text"
        self._rate_limit = RateLimit("", clock)

    # How to reach it

    @property
    def connection(self) -> str:
        """The Airflow connection with the API key, as JSON for ``AIRFLOW_CONN_…``."""
        return json.dumps({"conn_type": "optimove", "host": self.url, "password": self.api_key})

    @property
    def login_connection(self) -> str:
        """The Airflow connection with user name and password, as JSON for ``AIRFLOW_CONN_…``."""
        return json.dumps({"conn_type": "optimove", "host": self.url, "login": self.login, "password": self.password})

    # What was asked, what shall go wrong

    @property
    def logins(self) -> int:
        """How many times Login gave a token."""
        return self.sessions.logins

    def refuse_rows(self, function: str, value: str | int, explanation: str) -> None:
        """Answer 400 to calls of a write function that hold a certain row; nothing of such a call takes effect.

        :param function: Optimove's name in any letter case.
        :param value: the row, or what it has in one of its fields; compared as text.
        :param explanation: what the answer says. Of several bad rows the first one's is told.
        """
        name = _name_of_write(function)
        with self.lock:
            self.refused_rows.setdefault(name, {})[str(value)] = explanation

    def fail_mails(self, value: str | int, error: str) -> None:
        """Answer ``IsSuccess: false`` to mails with a certain recipient; none of the call's is sent.

        :param value: what the recipient has in one of its fields, such as the address.
        :param error: the answer's ``Error``.
        """
        with self.lock:
            self.failing_mails[str(value)] = error

    def forgive_rows(self, function: str | None = None) -> None:
        """End :meth:`refuse_rows` and :meth:`fail_mails`, for one function or for all."""
        name = None if function is None else _name_of_write(function)
        with self.lock:
            if name is None:
                self.refused_rows.clear()
            else:
                self.refused_rows.pop(name, None)
            if name in (None, "SendTransactionalMail"):
                self.failing_mails.clear()

    def fire_event(
        self,
        event_type: int,
        *,
        campaign_id: int | None = None,
        channel_id: int | None = None,
        times: int = 1,
        **fields: Any,
    ) -> list[Delivery]:
        """Post an event to every listener that is registered for it; only to listeners on this machine.

        :param event_type: Optimove's EventTypeID, 1 to 99.
        :param campaign_id: the campaign; None for the newest one that the event fits: executed, for event 4 cancelled,
            for event 5 with promotions, for event 11 triggered.
        :param channel_id: the channel; None for one of the campaign's.
        :param times: how often each listener gets it: the same event, as Optimove may deliver one more than once.
        :param fields: other values for fields of the payload, in any letter case, and further fields.
        :returns: how it went, also where a listener could not be reached; empty without a listener.
        :raises ValueError: no campaign fits, or a listener is not on this machine: nobody gets the event then.
        """
        if times < 1:
            raise ValueError(f"times: expected 1 or more, got {times}")
        with self.lock:
            turn = self._events_fired
            event = event_of(self, event_type, campaign_id=campaign_id, channel_id=channel_id, fields=fields, turn=turn)
            urls = [listener.url for listener in self.listeners if event.concerns(listener)]
            check_addresses(urls)
            self._events_fired += 1
        payload = drifted_event(event.payload) if self.drift else event.payload
        made = []
        for url in urls * times:
            made.append(post_event(event, payload, url))
            self.deliveries.append(made[-1])
        return made

    def expire_tokens(self) -> None:
        """Expire all tokens that Login gave."""
        self.sessions.expire()

    @property
    def rate_limit(self) -> str:
        """Calls/seconds, several windows with commas, e.g. ``50/10,2000/3600``; empty: no limit."""
        return self._rate_limit.setting

    @rate_limit.setter
    def rate_limit(self, setting: str) -> None:
        self._rate_limit = RateLimit(setting, self.clock)

    # One call

    def _handle(self, verb: str, path: str, headers: Message, body: bytes) -> Reply:
        if path in (FIRE_PATH, DATA_PATH):
            return self._obey(path, headers, body)
        arrived = self.clock()
        to = target(path)
        name = to.name if to else path.partition("?")[0]
        function = to.function if to else None
        with self._rate_limit.arrival(function.lane if function else "general") as passes:
            reply = self._reply(verb, path, headers, body, to is not None, function) if passes else self._too_many()
        call = Call(
            function=name,
            verb=verb,
            query=dict(query_of(path)),
            rows=row_count(function, body),
            user_agent=headers.get("User-Agent", ""),
            with_key="X-API-KEY" in headers,
            with_token="Authorization-Token" in headers,
            status=None if reply.dropped else reply.status,
            time=arrived,
        )
        self.calls.append(call)
        log.debug("%s %s -> %s", verb, name, "dropped" if reply.dropped else reply.status)
        return reply

    def _obey(self, path: str, headers: Message, body: bytes) -> Reply:
        done: list[Any] = []
        try:
            self._authenticate(headers)
            said = json.loads(body)
            if path == FIRE_PATH:
                done = [asdict(delivery) for delivery in self.fire_event(**said)]
            else:
                self.last_data_update = datetime.date.fromisoformat(said["date"])
        except Refused as refused:
            return self._refusal(refused)
        except (KeyError, TypeError, ValueError) as error:
            return self._refusal(Refused(str(error)))
        return Reply(body=encode(done))

    def _too_many(self) -> Reply:
        message = "The rate limit is exceeded; try again later."
        body = json.dumps({"status": 429, "error": "Too Many Requests", "message": message})
        headers = {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:g}"}
        return Reply(429, body.encode(), headers=headers)

    def _reply(
        self, verb: str, path: str, headers: Message, body: bytes, is_api: bool, function: Function | None
    ) -> Reply:
        if not is_api:
            return Reply(404, b"<html><body><h1>404 Not Found</h1></body></html>", "text/html; charset=utf-8")
        if function is None:
            return self._refusal(Refused("there is no such function", 405))
        fault = self.faults.next_for(function.name)
        if fault is not None and fault.expired_token:
            return self._answer_with(fault, lambda: self._expire(headers))
        return self._answer_with(fault, lambda: self._answer(verb, path, headers, body, function))

    def _expire(self, headers: Message) -> Reply:
        self.sessions.expire(headers.get("Authorization-Token", ""))
        return self._refusal(Refused(EXPIRED, 403, reason=EXPIRED))

    def _answer(self, verb: str, path: str, headers: Message, body: bytes, function: Function) -> Reply:
        try:
            if verb != function.verb:
                raise Refused(f"{function.name} is called with {function.verb}, not {verb}", 405)
            if function.name != "Login":
                self._authenticate(headers)
            query = query_of(path)
            names = {name.lower() for name, _ in query}
            if function.name in self.refuse_top and "$top" in names:
                raise Refused(f"{function.name} does not recognize the parameter '$top'")
            request = read(function, query, body, self.row_limits.get(function.name))
            if function.name == "Login":
                return Reply(body=encode(self._login(request.values)))
            with self.lock:
                content = answer(self, function.name, request)
            if content is NOTHING:
                return Reply()
            if isinstance(content, CustomerRows):
                top = DEFAULT_PAGE if request.top is None else request.top
                top = top if self.clamp_top is None else min(top, self.clamp_top)
                content = content.page(0 if self.ignore_skip else request.skip, top)
            return Reply(body=encode(content, drift=self.drift))
        except Refused as refused:
            return self._refusal(refused)

    def _authenticate(self, headers: Message) -> None:
        key, token = headers.get("X-API-KEY"), headers.get("Authorization-Token")
        if key is not None:
            if not same(key, self.api_key):
                raise Refused("Unauthorized: the API key is not valid", 401)
        elif token is not None:
            self.sessions.check_token(token)
        else:
            raise Refused("Unauthorized: neither an API key nor an Authorization-Token was sent", 401)

    def _login(self, values: Mapping[str, Any]) -> str:
        known = values["UserName"].lower() == self.login.lower()
        return self.sessions.login(same(values["Password"], self.password) and known)

    def _refusal(self, refused: Refused) -> Reply:
        status = refused.status
        match self.error_style:
            case "string":
                return Reply(status, encode(refused.text), reason=refused.reason)
            case "object":
                phrase = HTTPStatus(status).phrase
                error = {"status": status, "error": phrase, "message": refused.text}
                return Reply(status, encode(error), reason=refused.reason)
            case _:
                return Reply(status, refused.text.encode(), PLAIN, reason=refused.reason)


def _name_of_write(name: str) -> str:
    known = names_without_case().get(name.lower())
    if known is None or catalogue()[known].rows is None:
        raise ValueError(f"{name} is no function that takes rows")
    return known
