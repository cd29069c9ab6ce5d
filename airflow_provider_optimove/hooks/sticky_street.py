"""The Sticky Street hook: an Airflow connection, and the client that it describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Unpack

from airflow_provider_optimove.clients.http import is_unicode
from airflow_provider_optimove.clients.sticky_street.client import (
    ReportArguments,
    StickyStreetClient,
    StickyStreetSettings,
)
from airflow_provider_optimove.hooks.connection_fields import ConnectionFields, boolean, fits_a_header
from airflow_provider_optimove.hooks.system_hook import SystemHook

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

DEFAULT_HOST = "https://api.clienttoolbox.com"


class StickyStreetHook(SystemHook[StickyStreetSettings, StickyStreetClient]):
    """Reads reports of Sticky Street (The Client Toolbox) with an Airflow connection.

    The errors that a retry cannot mend (arguments that are not valid, credentials, whatever Sticky Street itself calls
    an error) end the task that meets them at once.

    :param sticky_street_conn_id: the connection; nothing is read or sent before the first call.
    """

    conn_name_attr = "sticky_street_conn_id"
    default_conn_name = "sticky_street_default"
    conn_type = "sticky_street"
    hook_name = "Sticky Street"
    client_class = StickyStreetClient

    def __init__(self, sticky_street_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(sticky_street_conn_id, **kwargs)
        self.sticky_street_conn_id = sticky_street_conn_id

    @staticmethod
    def settings_of(connection: Connection) -> StickyStreetSettings:
        """Read the fields of a connection.

        :param connection: an Airflow connection of type ``sticky_street``.
        :raises OptimoveInputError: a field is missing or wrong; the values of secret fields are not shown.
        """
        fields = ConnectionFields(
            connection, StickyStreetHook.conn_type, example_host=DEFAULT_HOST, default_host=DEFAULT_HOST
        )
        settings = StickyStreetSettings(
            http=fields.http_settings(no_path="reports are asked for at the address itself"),
            account_id=fields.read("account_id", "", _text),
            user_id=(connection.login or "").strip(),
            user_password=connection.password or "",
            key_in_header=fields.read("key_in_header", StickyStreetSettings.key_in_header, boolean),
        )
        if not settings.account_id:
            fields.problems.append("extra account_id: missing; every call names the account")
        if not settings.user_id:
            fields.problems.append("login: the user_id is missing")
        if not settings.user_password:
            fields.problems.append("password: the user_password, or the access key, is missing")
        named = {"extra account_id": settings.account_id, "login": settings.user_id, "password": settings.user_password}
        fields.problems += [
            f"{name}: holds half of a surrogate pair, which is no character"
            for name, value in named.items()
            if not is_unicode(value)
        ]
        if settings.user_password and settings.key_in_header and not fits_a_header(settings.user_password):
            fields.problems.append("password: the access key holds blanks, line breaks or other characters no key has")
        fields.check()
        return settings

    @staticmethod
    def look(client: StickyStreetClient) -> str:
        """Ask for customers that do not exist."""
        client.look()
        return f"it accepts user {client.settings.user_id} of account {client.settings.account_id}"

    def all_customers(self, **arguments: Unpack[ReportArguments]) -> Iterator[dict[str, Any]]:
        """The report of all customers; see :meth:`StickyStreetClient.all_customers`."""
        return self.client.all_customers(**arguments)


def _text(value: Any) -> str:
    return str(value).strip()
