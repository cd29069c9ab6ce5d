"""An Optimove on localhost, for trying things out and for tests; beside it a Netmera, a SessionM and a Sticky Street.

>>> from airflow_provider_optimove.sandbox import OptimoveSandbox
>>> with OptimoveSandbox(customers=50) as sandbox:
...     print(sandbox.connection)

On the command line: ``python -m airflow_provider_optimove.sandbox``.
"""

from airflow_provider_optimove.sandbox.events import Delivery
from airflow_provider_optimove.sandbox.faults import Fault
from airflow_provider_optimove.sandbox.netmera import NetmeraSandbox
from airflow_provider_optimove.sandbox.server import UNDOCUMENTED_PAGING, Call, OptimoveSandbox
from airflow_provider_optimove.sandbox.sessionm import SessionMSandbox
from airflow_provider_optimove.sandbox.sticky_street import StickyStreetSandbox

__all__ = [
    "UNDOCUMENTED_PAGING",
    "Call",
    "Delivery",
    "Fault",
    "NetmeraSandbox",
    "OptimoveSandbox",
    "SessionMSandbox",
    "StickyStreetSandbox",
]
