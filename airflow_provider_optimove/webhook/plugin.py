"""The plugin that mounts the event listener in Airflow's API server. Every process of Airflow imports this."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowPlugin, conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_optimove.webhook.address import URL_PREFIX

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)


class EventListenerOnDemand:
    """The event listener, built when the first request comes.

    :param conn_ids: the Airflow connections that are heard.
    """

    def __init__(self, conn_ids: list[str]) -> None:
        self._conn_ids = conn_ids
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            from airflow_provider_optimove.webhook.listener import EventListener

            self._app = EventListener(self._conn_ids)
        await self._app(scope, receive, send)


class OptimoveEventListenerPlugin(AirflowPlugin):
    """Takes Optimove's events where ``[optimove] listener_connections`` names connections; else nothing is mounted."""

    name = "optimove_event_listener"

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Read the setting."""
        written = conf.get("optimove", "listener_connections", fallback="") or ""
        conn_ids = [word.strip() for word in written.split(",") if word.strip()]
        if conn_ids and not AIRFLOW_V_3_0_PLUS:
            log.warning("[optimove] listener_connections has no effect: Optimove's event listener needs Airflow 3")
        elif conn_ids:
            app = EventListenerOnDemand(conn_ids)
            # Schedulers and workers load this too.
            if "api-server" in sys.argv:
                log.info("Optimove's event listener listens for the connections %s", ", ".join(conn_ids))
            cls.fastapi_apps = [{"app": app, "url_prefix": URL_PREFIX, "name": "Optimove's event listener"}]
