"""OptimoveClient: the one place that speaks HTTP to Optimove."""

from __future__ import annotations

import datetime
import hashlib
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from requests.auth import AuthBase

from airflow_provider_optimove.clients.answers import explanation, retry_after
from airflow_provider_optimove.clients.calls import CredentialsRefused, Fetched, SystemClient, SystemSettings
from airflow_provider_optimove.clients.http import ConnectionFailure, HttpAnswer, HttpRequest
from airflow_provider_optimove.clients.optimove import arguments, protocol, remarks
from airflow_provider_optimove.clients.optimove.auth import (
    ApiKeyAuth,
    FileTokenStore,
    LoginDelayed,
    MemoryTokenStore,
    SessionTokenAuth,
    SharedSession,
    session_key,
)
from airflow_provider_optimove.clients.optimove.functions import AllFunctions, Function, Lane, catalogue
from airflow_provider_optimove.clients.optimove.functions.types import Integer, Text
from airflow_provider_optimove.clients.optimove.pages import Page
from airflow_provider_optimove.clients.optimove.paging import (
    DEFAULT_PAGE,
    LARGEST_PAGE,
    Paging,
    PagingIgnoredError,
)
from airflow_provider_optimove.clients.optimove.protocol import Reading
from airflow_provider_optimove.clients.optimove.rate_limit import (
    DEFAULT_RATE_LIMIT,
    MAIL_PARALLEL_CALLS,
    MAIL_RATE_LIMIT,
    RateLimitGate,
    parse_rate_limit,
)
from airflow_provider_optimove.exceptions import (
    OptimoveBadRequestError,
    OptimoveError,
    OptimoveInputError,
    OptimoveResponseError,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

UNIQUE_MESSAGE_ID = "UniqueMessageID"
# The event listener takes no shorter one, and without it short words would be missing in every text.
SHORTEST_LISTENER_SECRET = 16
# However "$" is written in a text or a page.
NAMES_TOP = re.compile(r"(\$|%24|&#36;|(parameter|input)\W+)top\b", re.IGNORECASE)


@dataclass(frozen=True)
class OptimoveSettings(SystemSettings):
    """An account and how to reach it.

    :param http: address, timeouts, retries, certificates and proxies.
    :param api_key: the API key; None in login mode.
    :param user_name: the user of the older login mode.
    :param password: that user's password.
    :param api_path: what stands between the address and a function's group.
    :param rate_limit: calls and seconds, ``"50/10"``; several with commas; empty for none.
    :param listener_secret: what the URL of an event listener carries, several separated by blanks; only kept out of
        errors and logs here.
    :param session_cache: where the token of login mode is shared: by the host's processes, or in this one only.
    """

    api_key: str | None = field(default=None, repr=False)
    user_name: str | None = None
    password: str | None = field(default=None, repr=False)
    listener_secret: str | None = field(default=None, repr=False)
    api_path: str = "current"
    rate_limit: str = DEFAULT_RATE_LIMIT
    session_cache: Literal["file", "memory"] = "file"

    @property
    def secrets(self) -> list[str | None]:
        """The credentials, and what the URLs of listeners carry."""
        of_listeners = _forms_in_urls(self.listener_secret or "")
        return [self.api_key, self.password, self.listener_secret, *of_listeners]

    @property
    def login_mode(self) -> bool:
        """Whether calls carry the token of a Login instead of an API key."""
        return bool(self.user_name)


class OptimoveClient(SystemClient[OptimoveSettings], AllFunctions):
    """Calls Optimove's functions: by name with :meth:`call` and :meth:`rows`, or as typed methods.

    Every function can raise :class:`OptimoveInputError` (before anything is sent),
    :class:`OptimoveBadRequestError`, :class:`OptimoveAuthenticationError`, :class:`OptimovePermissionError`,
    :class:`OptimoveUnknownFunctionError`, :class:`OptimoveRateLimitError`, :class:`OptimoveServerError` and
    :class:`OptimoveResponseError`; a write that is not harmless to repeat also
    :class:`OptimoveUncertainWriteError`.

    :param settings: the account and how to reach it.
    :param translate_error: applied to every error before it is raised.
    """

    takes_message_ids = True

    def call(
        self, function: str, parameters: Mapping[str, Any] | None = None, /, *, body: Any = None, **keywords: Any
    ) -> Any:
        """Call any function by Optimove's name.

        :param function: the name, in any letter case.
        :param parameters: values by the API's names, in any letter case.
        :param body: of a POST function, the body as Optimove's guide shows it.
        :param keywords: parameters too, by the API's or the Python name.
        :returns: the decoded answer with Optimove's field names. An empty answer is None, or an empty list where
            rows are due. A paged function is read to its end, unless ``$top`` or ``$skip`` ask for one page.
        """
        with self._translated():
            declared = arguments.find_function(function)
            bound = arguments.bind(declared, parameters, keywords=keywords, body=body)
            if declared.paged and not any(name in bound for name in arguments.PAGE_PARAMETERS):
                return list(chain.from_iterable(self._pages(declared, bound, DEFAULT_PAGE, protocol.DECODED)))
            return self._fetch(declared, bound).answer

    @property
    def account(self) -> tuple[str, str, str | None]:
        """What tells this account from others: address, path and user; no secret."""
        return self.settings.http.base_url, self.settings.api_path, self.settings.user_name

    def send(self, function: Function, bound: Mapping[str, Any]) -> Fetched:
        """Make one call of a write whose arguments were checked before.

        :param function: its declaration; what it says of repeating holds for this call.
        :param bound: values by Optimove's names, as :func:`arguments.bind` returns them; rows may be encoded already.
        """
        with self._translated():
            return self._fetch(function, bound)

    def rows(
        self,
        function: str,
        parameters: Mapping[str, Any] | None = None,
        /,
        *,
        page_size: int = DEFAULT_PAGE,
        **keywords: Any,
    ) -> Iterator[dict[str, Any]]:
        """Read all rows of a function, page by page, with one page in memory.

        :param function: the name of a function that returns rows, in any letter case.
        :param parameters: values by the API's names, in any letter case.
        :param page_size: rows a call, 1 to 200,000; without effect on functions that do not page.
        :param keywords: parameters too, by the API's or the Python name.
        :returns: an iterator of rows with Optimove's field names. The arguments are checked at once, the first page
            is read when the first row is asked for.
        """
        with self._translated():
            declared = _returning_rows(function)
            return self._rows(declared, parameters, keywords, page_size)

    def pages(
        self,
        function: str,
        parameters: Mapping[str, Any] | None = None,
        /,
        *,
        page_size: int = DEFAULT_PAGE,
        **keywords: Any,
    ) -> Iterator[Page]:
        """Read all rows of a function, page by page and without decoding them; one page is in memory.

        :func:`fetched_ahead` fetches the next page while the caller works on the last one.

        :param function: the name of a function that returns rows, in any letter case.
        :param parameters: values by the API's names, in any letter case.
        :param page_size: rows a call, 1 to 200,000; without effect on functions that do not page.
        :param keywords: parameters too, by the API's or the Python name.
        :returns: an iterator of pages; one, maybe empty, where the function does not page. The arguments are checked
            at once, the first page is read when it is asked for.
        """
        with self._translated():
            declared = _returning_rows(function)
            pages = self._checked_pages(declared, parameters, keywords, page_size, protocol.UNDECODED)
            return self._translated_items(pages)

    def _call(self, function: Function, given: Mapping[str, Any]) -> Any:
        with self._translated():
            if function.paged:
                keywords = dict(given)
                return self._rows(function, None, keywords, keywords.pop("page_size", DEFAULT_PAGE))
            answer = self._fetch(function, arguments.bind(function, keywords=given)).answer
            return self._data_date(function, answer) if function.answer == "date" else answer

    def _data_date(self, function: Function, answer: Mapping[str, Any] | None) -> datetime.date:
        if answer is None:
            raise OptimoveResponseError("Optimove names no data date yet", function=function.name, status=200)
        text = self._redact(str({name.lower(): value for name, value in answer.items()}["date"]))
        try:
            return datetime.date.fromisoformat(text[: len("YYYY-MM-DD")])
        except ValueError:
            raise OptimoveResponseError(f"expected a date, got {text!r}", function=function.name, status=200) from None

    def _rows(
        self, function: Function, parameters: Mapping[str, Any] | None, keywords: Mapping[str, Any], page_size: int
    ) -> Iterator[dict[str, Any]]:
        pages = self._checked_pages(function, parameters, keywords, page_size, protocol.DECODED)
        # Not a loop: its variable would hold one page while the next is fetched.
        return self._translated_items(chain.from_iterable(pages))

    def _checked_pages(
        self,
        function: Function,
        parameters: Mapping[str, Any] | None,
        keywords: Mapping[str, Any],
        page_size: int,
        reading: Reading,
    ) -> Iterator[Any]:
        bound = arguments.bind(function, parameters, keywords=keywords)
        if any(name in bound for name in arguments.PAGE_PARAMETERS):
            problem = "$top, $skip: all rows are read here; set page_size, or use call for a single page"
            raise OptimoveInputError("the arguments are not valid", function=function.name, problems=[problem])
        page_size = arguments.checked_value(function, "page_size", page_size, Integer(minimum=1, maximum=LARGEST_PAGE))
        return self._pages(function, bound, page_size, reading)

    def _pages(self, function: Function, bound: Mapping[str, Any], page_size: int, reading: Reading) -> Iterator[Any]:
        """What is read of each page."""
        if not function.paged:
            yield self._fetch(function, bound, reading).answer
            return
        paging = Paging(page_size)
        started = time.monotonic()
        while not paging.finished:
            yield self._next_page(function, bound, reading, paging, started)

    def _next_page(
        self, function: Function, bound: Mapping[str, Any], reading: Reading, paging: Paging, started: float
    ) -> Any:
        try:
            rows, checksum, _ = self._fetch(function, {**bound, **paging.parameters()}, reading)
        except OptimoveBadRequestError as error:
            names_top = error.status == 400 and NAMES_TOP.search(error.message)
            if paging.received_rows or paging.unpaged or function.group == "customers" or not names_top:
                raise
            paging.unpaged = True
            return self._next_page(function, bound, reading, paging, started)
        try:
            paging.received(len(rows), checksum)
        except PagingIgnoredError as error:
            raise OptimoveResponseError(str(error), function=function.name, status=200) from None
        log.info(
            "%s: page %s: %s rows; %s in all%s, %s rows/s",
            *(function.name, f"{paging.pages:,}", f"{len(rows):,}", f"{paging.received_rows:,}"),
            *(
                ", the last" if paging.finished else " so far",
                f"{paging.received_rows / (time.monotonic() - started):,.0f}",
            ),
        )
        return rows

    def _fetch(self, function: Function, bound: Mapping[str, Any], reading: Reading = protocol.DECODED) -> Fetched:
        """One call with all its retries."""
        # Also while a Login comes first.
        self._on_its_way = False
        for parameter in function.own_parameters:
            if isinstance(parameter.format, Text) and parameter.format.secret and parameter.name in bound:
                self._redact.add(bound[parameter.name])
        self._remark(function, remarks.before(function, bound))
        if not self.takes_message_ids:
            bound = {name: value for name, value in bound.items() if name != UNIQUE_MESSAGE_ID}
        try:
            fetched = self._authorized(function, bound, reading)
        except OptimoveBadRequestError as error:
            if UNIQUE_MESSAGE_ID not in bound or error.status != 400 or not _is_unknown_message_id(error.message):
                raise
            log.warning("%s: this account knows no %s; sent without it", function.name, UNIQUE_MESSAGE_ID)
            self.takes_message_ids = False
            bound = {name: value for name, value in bound.items() if name != UNIQUE_MESSAGE_ID}
            fetched = self._authorized(function, bound, reading)
        self._remark(function, remarks.after(function, bound, fetched.answer, repeated=fetched.repeated))
        return fetched

    @staticmethod
    def _remark(function: Function, remark: remarks.Remark | None) -> None:
        if remark is not None:
            log.log(remark.level, "%s: %s", function.name, remark.text)

    def _authorized(self, function: Function, bound: Mapping[str, Any], reading: Reading) -> Fetched:
        """One call with its credentials, and at most one new Login."""
        request = protocol.request_of(function, bound, api_path=self.settings.api_path)
        deadline = self._http.deadline()
        if function.name == protocol.LOGIN:
            fetched = self._ask(function, request, None, deadline, reading)
            self._redact.add(fetched.answer)
            return fetched
        if not self.settings.login_mode:
            return self._ask(function, request, ApiKeyAuth(self.settings.api_key or ""), deadline, reading)
        with _apart_from_the_call(may_have_happened=False):
            token = self._session.token(deadline)
        try:
            return self._ask(function, request, self._token_auth(token), deadline, reading)
        except CredentialsRefused as refused:
            repeated = refused.repeated
        with _apart_from_the_call(may_have_happened=repeated):
            token = self._session.renew(token, deadline)
        try:
            return self._ask(function, request, self._token_auth(token), deadline, reading, repeated=repeated)
        except CredentialsRefused as refused:
            refused.error.may_have_happened = refused.repeated
            raise refused.error from None

    def _ask(
        self,
        function: Function,
        request: HttpRequest,
        auth: AuthBase | None,
        deadline: float,
        reading: Reading,
        *,
        repeated: bool = False,
    ) -> Fetched:
        def judge(outcome: HttpAnswer | ConnectionFailure) -> Any:
            answer = reading.judge(function, outcome, login_mode=self.settings.login_mode)
            if isinstance(outcome, HttpAnswer) and outcome.status != 200:
                # Customers' data and tokens do not belong in a log.
                tells = function.answer == "nothing" or function.lane == "mail"
                said = explanation(self._without_secrets(outcome).body).text if tells else ""
                log.warning("%s: accepted with HTTP %d %s", function.name, outcome.status, said)
            return answer

        return self._exchange(
            function.name,
            request,
            judge,
            auth=auth,
            deadline=deadline,
            gate=self._gates[function.lane].slot,
            body_reader=reading.body_reader,
            repeated=repeated,
            reads=function.reads,
            for_credentials=function.name == protocol.LOGIN,
        )

    def _login(self, deadline: float) -> str:
        function = catalogue()[protocol.LOGIN]
        credentials = {"UserName": self.settings.user_name, "Password": self.settings.password}
        request = protocol.request_of(function, arguments.bind(function, credentials), api_path=self.settings.api_path)
        token = self._ask(function, request, None, deadline, LOGIN_READING).answer
        # A token that cannot be sent must not be kept for others.
        self._token_auth(token)
        return str(token)

    def _token_auth(self, token: str) -> SessionTokenAuth:
        self._redact.add(token)
        return SessionTokenAuth(token)

    @cached_property
    def _session(self) -> SharedSession:
        store = FileTokenStore if self.settings.session_cache == "file" else MemoryTokenStore
        account = (self.settings.http.base_url, self.settings.user_name or "", self.settings.password or "")
        return SharedSession(store(*account), self._login)

    @cached_property
    def _gates(self) -> Mapping[Lane, RateLimitGate]:
        identity = self.settings.user_name or hashlib.sha256((self.settings.api_key or "").strip().encode()).hexdigest()
        account = session_key(self.settings.http.base_url, identity)
        windows = parse_rate_limit(self.settings.rate_limit)
        return {
            "general": RateLimitGate(windows, key=f"{account} general"),
            "mail": RateLimitGate(
                parse_rate_limit(MAIL_RATE_LIMIT) if windows else (),
                key=f"{account} mail",
                parallel=MAIL_PARALLEL_CALLS if windows else None,
            ),
        }


@contextmanager
def _apart_from_the_call(*, may_have_happened: bool) -> Iterator[None]:
    """A Login on the way: what becomes of it says nothing of the call."""
    try:
        yield
    except OptimoveError as error:
        error.may_have_happened = may_have_happened
        raise


def _returning_rows(name: str) -> Function:
    function = arguments.find_function(name)
    if function.answer != "rows":
        raise OptimoveInputError("returns no rows; use call", function=function.name)
    return function


def _forms_in_urls(listener_secret: str) -> Iterator[str]:
    """The single secrets as they stand in a listener's URL, also in one that is escaped as a whole, and once more."""
    for secret in listener_secret.split():
        if len(secret) >= SHORTEST_LISTENER_SECRET:
            escaped = quote(secret, safe="")
            in_lower_case = re.sub("%..", lambda escape: escape[0].lower(), escaped)
            yield from (secret, escaped, in_lower_case, quote(escaped), quote(in_lower_case))


def _is_unknown_message_id(message: str) -> bool:
    """Whether a refusal means that the account does not know UniqueMessageID, and not that this one is taken or bad."""
    said = message.lower()
    of_this_value = re.search("already|duplicate|exist|used|unique message|too long|length|character", said)
    return UNIQUE_MESSAGE_ID.lower() in said and not of_this_value


def _judge_login(function: Function, outcome: HttpAnswer | ConnectionFailure, *, login_mode: bool) -> Any:
    """A Login that is refused for now is not repeated blindly: another process may have logged in meanwhile."""
    if isinstance(outcome, HttpAnswer) and outcome.status == 429:
        raise LoginDelayed(retry_after(outcome))
    return protocol.judge(function, outcome, login_mode=login_mode)


LOGIN_READING = Reading(_judge_login)
