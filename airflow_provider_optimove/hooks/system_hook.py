"""What the hooks of all systems share: from an Airflow connection to a client, and the test of the connection."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_optimove.clients.calls import SystemClient, SystemSettings
from airflow_provider_optimove.exceptions import OptimoveInputError, OptimoveRateLimitError, RemoteSystemError
from airflow_provider_optimove.hooks.connection_fields import unknown_extras
from airflow_provider_optimove.hooks.connection_form import field_behaviour, form_widgets
from airflow_provider_optimove.hooks.task_errors import ending_the_task

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

SettingsT = TypeVar("SettingsT", bound=SystemSettings)
ClientT = TypeVar("ClientT", bound=SystemClient[Any])

# A person waits in front of the connection form.
TEST_TIMEOUT = 20.0


class SystemHook(BaseHook, Generic[SettingsT, ClientT]):
    """Base of the hooks. The errors that a retry cannot mend end the task that meets them at once.

    :param conn_id: the connection; nothing is read or sent before the first call.
    """

    conn_type: str
    client_class: type[ClientT]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Airflow 2 looks for these in the class itself only.
        for name in ("get_connection_form_widgets", "get_ui_field_behaviour"):
            setattr(cls, name, classmethod(getattr(cls, name).__func__))

    def __init__(self, conn_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._conn_id = conn_id

    @staticmethod
    @abstractmethod
    def settings_of(connection: Connection) -> SettingsT:
        """What the client needs to know.

        :param connection: an Airflow connection of the hook's type.
        :raises OptimoveInputError: a field is missing or wrong; the values of secret fields are not shown.
        """

    @staticmethod
    @abstractmethod
    def look(client: ClientT) -> str:
        """Make a call that is harmless; returns what to say of its answer to somebody who tests the connection."""

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
        return self.get_connection(self._conn_id)

    @cached_property
    def client(self) -> ClientT:
        """The client of the connection."""
        try:
            settings = self.settings_of(self._connection)
        except OptimoveInputError as error:
            raise ending_the_task(error) from None
        return self.client_class(settings, translate_error=ending_the_task)

    def get_conn(self) -> ClientT:
        """The same as :attr:`client`."""
        return self.client

    def test_connection(self) -> tuple[bool, str]:
        """Make a call that is harmless.

        :returns: whether it worked, and what was reached or why not.
        """
        try:
            settings = self.settings_of(self._connection)
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
            with self.client_class(replace(settings, http=quick)) as client:
                seen = self.look(client)
        except RemoteSystemError as error:
            return False, f"{host}: {_in_a_users_words(error)}"
        ignored = ", ".join(unknown_extras(self._connection, self.conn_type))
        remark = f"; but extra {ignored} has no meaning here: is it misspelt?" if ignored else ""
        return True, f"{host} answers; {seen}{remark}"


def _in_a_users_words(error: RemoteSystemError) -> str:
    if error.status == 403:
        return (
            "the credentials are known, but the call is not allowed: is this machine's address on the account's"
            f" IP allow list, and may the role read the API? {error.message}"
        )
    if error.status is None and not error.permanent and not isinstance(error, OptimoveRateLimitError):
        return f"cannot be reached: is the host right, and is the way to it open? {error.message}"
    return str(error)
