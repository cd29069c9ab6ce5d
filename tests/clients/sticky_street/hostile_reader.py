"""Ask a server for its report under one account after the other, and tell as JSON what it took.

Run by the tests in a process of its own::

    python -m tests.clients.sticky_street.hostile_reader <server> <account>...
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

from airflow_provider_optimove.clients.http import HttpSettings
from airflow_provider_optimove.clients.sticky_street.client import StickyStreetClient, StickyStreetSettings
from airflow_provider_optimove.exceptions import StickyStreetError
from tests.benchmarks.measuring import measured


def said_of(server: str, account: str) -> str:
    """What the error says."""
    settings = StickyStreetSettings(
        http=HttpSettings(server, retry_limit=0), account_id=account, user_id="somebody", user_password="fake-password"
    )
    with StickyStreetClient(settings) as client:
        try:
            client.report()
        except StickyStreetError as error:
            return str(error)
    return "read"


def hear(said: list[str], server: str, account: str) -> None:
    """Keep what the error says."""
    said.append(said_of(server, account))


def main() -> None:
    """Measure each account once; the first one of all is for what is loaded on the way."""
    server, *accounts = sys.argv[1:]
    said_of(server, accounts[0])
    told: dict[str, Any] = {}
    for account in accounts:
        said: list[str] = []
        taken = measured(partial(hear, said, server, account))
        told[account] = {**taken, "said": said[0]}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
