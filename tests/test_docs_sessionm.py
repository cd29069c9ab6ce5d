"""What the page on SessionM says is what the code does; its table of addresses is tested with the client."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import Connection

from airflow_provider_optimove.clients.sessionm.endpoints import (
    CREATIVES,
    ENDPOINTS,
    FILTERS,
    REQUIRED_ATTRIBUTES,
    SECTIONS,
    STATUSES,
)
from airflow_provider_optimove.hooks.connection_form import extra_fields, field_behaviour
from airflow_provider_optimove.hooks.sessionm import SessionMHook
from airflow_provider_optimove.sandbox import SessionMSandbox
from tests.test_documentation import python_of

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

PAGE = (Path(__file__).parents[1] / "docs" / "sessionm.md").read_text()
WORDS = " ".join(PAGE.split())
CALLING, CATCHING, *_ = python_of("docs/sessionm.md")


def table(heading: str) -> list[list[str]]:
    """The cells of the table with this heading, without it."""
    lines = PAGE.split(f"| {heading} |", 1)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_connection() -> None:
    labels = field_behaviour("sessionm")["relabeling"]
    assert [field for field, _ in table("Field")] == [labels[name] for name in ("host", "login", "password")]
    section = PAGE.split("## The connection")[1].split("## ")[0]
    assert {name for name in extra_fields("sessionm") if f"`{name}`" not in section} == set()
    (fields,) = re.findall(r"AIRFLOW_CONN_SESSIONM_DEFAULT='(.*)'", PAGE)
    settings = SessionMHook.settings_of(Connection(conn_id="mine", **json.loads(fields)))
    assert (settings.api_key, settings.api_secret) == ("<API key>", "<API secret>")


def test_the_hook_is_used_as_shown(sessionm_sandbox: SessionMSandbox) -> None:
    names: dict[str, Any] = {}
    exec(compile(CALLING, "sessionm.md", "exec"), names)
    assert names["state"] == "opted_in"
    assert "Winter" in names["names"]
    assert [(opt_in.campaign_id, opt_in.user_id) for opt_in in sessionm_sandbox.opt_ins] == [
        (names["created"]["id"], sessionm_sandbox.customers[17].user_id)
    ]


def test_an_error_is_caught_as_shown(sessionm_sandbox: SessionMSandbox) -> None:
    names: dict[str, Any] = {}
    exec(compile(CATCHING, "sessionm.md", "exec"), names)
    opt_in = names["opt_in_if_possible"]
    assert opt_in(SessionMHook(), 1, "C0000017") == "opted in"
    assert opt_in(SessionMHook(), 1, "C0000019") == "user_ineligible_for_campaign"


def test_the_methods_and_their_arguments() -> None:
    told = {}
    for cell, _ in table("Method | Returns"):
        name, *arguments = re.findall(r"[a-z_]+", cell)
        told[name] = set(arguments) - {"or"}
    operations = {endpoint.operation for endpoint in ENDPOINTS}
    assert told == {
        name: set(inspect.signature(getattr(SessionMHook, name)).parameters) - {"self"} for name in operations
    }


def test_the_values() -> None:
    told = {argument.strip("`"): re.findall(r'`"?(\w*)"?`', values) for argument, values in table("Argument | Values")}
    assert told.pop("division_ids") == []
    assert told == {"sections": list(SECTIONS), "filters": list(FILTERS), "creatives": list(CREATIVES)}
    ((statuses, *needed),) = re.findall(r"`name` \(unique\), `status` \((.*?)\), `(\w+)` and `(\w+)` are needed", WORDS)
    assert {"name", "status", *needed} == set(REQUIRED_ATTRIBUTES)
    assert re.findall(r"`(\w+)`", statuses) == list(STATUSES)
