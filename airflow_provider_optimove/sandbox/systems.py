"""The stand-ins of the systems beside Optimove, to serve them together."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_optimove.sandbox.netmera import NetmeraSandbox
from airflow_provider_optimove.sandbox.serving import SystemStandIn
from airflow_provider_optimove.sandbox.sessionm import SessionMSandbox
from airflow_provider_optimove.sandbox.sticky_street import StickyStreetSandbox

SYSTEMS: Mapping[str, type[SystemStandIn]] = {
    "Netmera": NetmeraSandbox,
    "SessionM": SessionMSandbox,
    "Sticky Street": StickyStreetSandbox,
}


def systems_after(port: int) -> dict[str, SystemStandIn]:
    """A stand-in of each system by the system's name, not started yet.

    :param port: they have the ports after this one; 0: free ones.
    """
    return {name: kind(port=port and port + number) for number, (name, kind) in enumerate(SYSTEMS.items(), start=1)}
