"""The Optimove hook: an Airflow connection, and the client that it describes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_optimove.clients.optimove.client import OptimoveClient, OptimoveSettings
from airflow_provider_optimove.clients.optimove.rate_limit import DEFAULT_RATE_LIMIT, parse_rate_limit
from airflow_provider_optimove.exceptions import (
    OptimoveError,
    OptimoveInputError,
    OptimovePermissionError,
    OptimoveServerError,
)
from airflow_provider_optimove.hooks.connection_fields import (
    ConnectionFields,
    fits_a_header,
    is_unicode,
    unknown_extras,
)
from airflow_provider_optimove.hooks.connection_form import field_behaviour, form_widgets
from airflow_provider_optimove.hooks.task_errors import ending_the_task

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

# A person waits in front of the connection form.
TEST_TIMEOUT = 20.0


class OptimoveHook(BaseHook):
    """Calls Optimove's API with an Airflow connection.

    The errors that a retry cannot mend (input, bad request, authentication, permission, unknown function, rejected
    rows, uncertain write) end the task that meets them at once.

    :param optimove_conn_id: the connection; nothing is read or sent before the first call.
    :param longest_wait: seconds that a call may wait for the rate limit; None: as long as a call may take at all.
    :param longest_call: seconds that a call may take, where that is less than the connection's ``total_timeout``.
    """

    conn_name_attr = "optimove_conn_id"
    default_conn_name = "optimove_default"
    conn_type = "optimove"
    hook_name = "Optimove"

    def __init__(
        self,
        optimove_conn_id: str = default_conn_name,
        *,
        longest_wait: float | None = None,
        longest_call: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.optimove_conn_id = optimove_conn_id
        self._longest_wait = longest_wait
        self._longest_call = longest_call

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The extra fields of the connection form on Airflow 2."""
        return form_widgets(cls.conn_type)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Labels and hidden fields of the connection form on Airflow 2."""
        return field_behaviour(cls.conn_type)

    @cached_property
    def _connection(self) -> Connection:
        return self.get_connection(self.optimove_conn_id)

    @cached_property
    def client(self) -> OptimoveClient:
        """The client of the connection, with one typed method a function."""
        return client_from_connection(
            self._connection,
            translate_error=ending_the_task,
            longest_wait=self._longest_wait,
            longest_call=self._longest_call,
        )

    def get_conn(self) -> OptimoveClient:
        """The same as :attr:`client`."""
        return self.client

    @cached_property
    def timezone(self) -> str | None:
        """Time zone of the account's dates, from the connection's extra ``timezone``; None when it has none."""
        extra = self._connection.extra_dejson
        return extra.get("timezone") or None if isinstance(extra, Mapping) else None

    def call(
        self, function: str, parameters: Mapping[str, Any] | None = None, /, *, body: Any = None, **keywords: Any
    ) -> Any:
        """Call any function of Optimove's by name; see :meth:`OptimoveClient.call`."""
        return self.client.call(function, parameters, body=body, **keywords)

    def rows(
        self, function: str, parameters: Mapping[str, Any] | None = None, /, **options: Any
    ) -> Iterator[dict[str, Any]]:
        """Iterate over all rows of a function of Optimove's; see :meth:`OptimoveClient.rows`."""
        return self.client.rows(function, parameters, **options)

    def test_connection(self) -> tuple[bool, str]:
        """Ask Optimove for its data date (GetLastDataUpdate).

        :returns: whether it worked, and what was reached or why not.
        """
        try:
            settings = settings_from_connection(self._connection)
        except (OptimoveInputError, AirflowNotFoundException) as error:
            return False, str(error)
        host = urlsplit(settings.http.base_url).netloc
        quick = replace(
            settings.http,
            connect_timeout=min(settings.http.connect_timeout, TEST_TIMEOUT),
            read_timeout=min(settings.http.read_timeout, TEST_TIMEOUT),
            total_timeout=TEST_TIMEOUT,
            retry_limit=0,
        )
        try:
            with OptimoveClient(replace(settings, http=quick)) as client:
                date = client.get_last_data_update()
        except OptimoveError as error:
            return False, f"{host}: {_in_a_users_words(error)}"
        ignored = ", ".join(unknown_extras(self._connection, self.conn_type))
        remark = f"; but extra {ignored} has no meaning here: is it misspelt?" if ignored else ""
        return True, f"{host} answers; its newest data is of {date}{remark}"


def client_from_connection(
    connection: Connection,
    *,
    translate_error: Callable[[OptimoveError], OptimoveError] = lambda error: error,
    longest_wait: float | None = None,
    longest_call: float | None = None,
    polling: bool = False,
) -> OptimoveClient:
    """The client that a connection describes.

    :param connection: an Airflow connection of type ``optimove``.
    :param translate_error: applied to every error, also to those of the connection itself.
    :param longest_wait: seconds that a call may wait for the rate limit; None: as long as a call may take at all.
    :param longest_call: seconds that a call may take, where that is less than the connection's ``total_timeout``.
    :param polling: for one who asks the same over and over: no retries, and no remarks on answers in the log.
    :raises OptimoveInputError: a field of the connection is missing or wrong.
    """
    try:
        settings = settings_from_connection(connection)
    except OptimoveInputError as error:
        raise translate_error(error) from None
    if longest_wait is not None:
        settings = replace(settings, http=replace(settings.http, longest_wait=longest_wait))
    if longest_call is not None:
        total = min(settings.http.total_timeout, longest_call)
        settings = replace(settings, http=replace(settings.http, total_timeout=total))
    if polling:
        settings = replace(settings, http=replace(settings.http, retry_limit=0))
    return (_PollingClient if polling else OptimoveClient)(settings, translate_error=translate_error)


class _PollingClient(OptimoveClient):
    @staticmethod
    def _remark(*_: object) -> None:
        """Nothing: who polls says what an answer means, once."""


def settings_from_connection(connection: Connection) -> OptimoveSettings:
    """Read the fields of a connection.

    :param connection: an Airflow connection of type ``optimove``.
    :raises OptimoveInputError: a field is missing or wrong; the values of secret fields are not shown.
    """
    fields = ConnectionFields(connection, OptimoveHook.conn_type, example_host="https://api5.optimove.net")
    http = fields.http_settings(no_path="what stands before the functions' groups goes into extra api_path")
    user_name = (connection.login or "").strip() or None
    secret = connection.password or ""
    if not secret:
        fields.problems.append(
            "password: the password of the user is missing" if user_name else "password: the API key is missing"
        )
    elif not is_unicode(secret):
        fields.problems.append("password: holds half of a surrogate pair, which is no character")
    elif not user_name and not fits_a_header(secret):
        fields.problems.append("password: the API key holds blanks, line breaks or other characters no key has")
    fields.read("timezone", None, _timezone)
    settings = OptimoveSettings(
        http=http,
        api_key=None if user_name else secret,
        user_name=user_name,
        password=secret if user_name else None,
        listener_secret=fields.read("listener_secret", None, str),
        api_path=fields.read("api_path", OptimoveSettings.api_path, _api_path, empty_counts=True),
        rate_limit=fields.read("rate_limit", DEFAULT_RATE_LIMIT, _rate_limit, empty_counts=True),
        session_cache=fields.read("session_cache", OptimoveSettings.session_cache, _session_cache),
    )
    fields.check()
    return settings


def _api_path(value: Any) -> str:
    path = str(value).strip().strip("/")
    if not re.fullmatch(r"[A-Za-z0-9._~/-]*", path):
        raise ValueError(f"expected a path such as current, got {value!r}")
    return path


def _rate_limit(value: Any) -> str:
    # A form field left empty is not stored, so a person needs a word for "no limit".
    limit = "" if str(value).strip().lower() == "off" else str(value)
    parse_rate_limit(limit)
    return limit


def _timezone(value: Any) -> str | None:
    try:
        return ZoneInfo(str(value).strip()).key
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{value!r} is not a time zone; expected a name like Europe/London") from error


def _session_cache(value: Any) -> Literal["file", "memory"]:
    if value not in ("file", "memory"):
        raise ValueError(f"expected file or memory, got {value!r}")
    return cast(Literal["file", "memory"], value)


def _in_a_users_words(error: OptimoveError) -> str:
    if isinstance(error, OptimovePermissionError):
        return (
            "the credentials are known, but the call is not allowed: is this machine's address on the account's"
            f" IP allow list, and may the role read the API? {error.message}"
        )
    if isinstance(error, OptimoveServerError) and error.status is None:
        return f"cannot be reached: is the host right, and is the way to it open? {error.message}"
    return str(error)


__all__ = ["OptimoveHook", "client_from_connection", "settings_from_connection"]
