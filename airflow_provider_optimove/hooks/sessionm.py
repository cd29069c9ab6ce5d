"""The SessionM hook: an Airflow connection, and the client that it describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_optimove.clients.http import is_unicode
from airflow_provider_optimove.clients.sessionm.client import SessionMClient, SessionMOperations, SessionMSettings
from airflow_provider_optimove.hooks.connection_fields import ConnectionFields
from airflow_provider_optimove.hooks.system_hook import SystemHook

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection


class SessionMHook(SessionMOperations, SystemHook[SessionMSettings, SessionMClient]):
    """Calls SessionM's Campaigns API with an Airflow connection; one method an operation.

    The errors that a retry cannot mend (bad input, refused credentials, an error code that SessionM answers, a write
    whose outcome is unknown) end the task that meets them at once.

    :param sessionm_conn_id: the connection; nothing is read or sent before the first call.
    """

    conn_name_attr = "sessionm_conn_id"
    default_conn_name = "sessionm_default"
    conn_type = "sessionm"
    hook_name = "SessionM"
    client_class = SessionMClient

    def __init__(self, sessionm_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(sessionm_conn_id, **kwargs)
        self.sessionm_conn_id = sessionm_conn_id

    @property
    def _speaker(self) -> SessionMClient:
        return self.client

    @staticmethod
    def settings_of(connection: Connection) -> SessionMSettings:
        """Read the fields of a connection.

        :param connection: an Airflow connection of type ``sessionm``.
        :raises OptimoveInputError: a field is missing or wrong; the values of secret fields are not shown.
        """
        fields = ConnectionFields(
            connection, SessionMHook.conn_type, example_host="https://api-example.ent-sessionm.com"
        )
        http = fields.http_settings(no_path="the rest of the address is known")
        key, secret = (connection.login or "").strip(), (connection.password or "").strip()
        for field, name, value in (("login", "API key", key), ("password", "API secret", secret)):
            if not value:
                fields.problems.append(f"{field}: the {name} is missing")
            elif not is_unicode(value):
                fields.problems.append(f"{field}: holds half of a surrogate pair, which is no character")
        if ":" in key:
            fields.problems.append("login: the API key holds a colon; does the secret stand there too?")
        if key in (".", ".."):
            fields.problems.append("login: this cannot be an API key")
        fields.check()
        return SessionMSettings(http, api_key=key, api_secret=secret)

    @staticmethod
    def look(client: SessionMClient) -> str:
        """Ask for the active campaigns."""
        return f"it has {len(client.active_campaigns()):,} active campaigns"


__all__ = ["SessionMHook"]
