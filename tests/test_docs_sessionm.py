"""What the page on SessionM says is what the code does; its table of addresses is tested with the client."""

from __future__ import annotations

import gzip
import inspect
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from airflow.providers.common.compat.sdk import Connection

from airflow_provider_optimove.clients.sessionm.endpoints import (
    CREATIVES,
    ENDPOINTS,
    FILTERS,
    REQUIRED_ATTRIBUTES,
    SECTIONS,
    STATUSES,
)
from airflow_provider_optimove.clients.sessionm.opt_ins import OF_ALL_CUSTOMERS, STRETCH, TAKING_PART, OptInPolicy
from airflow_provider_optimove.hooks.connection_form import extra_fields, field_behaviour
from airflow_provider_optimove.hooks.sessionm import SessionMHook
from airflow_provider_optimove.operators.sessionm import (
    CREATE_KEY,
    OPT_IN_KEY,
    SessionMCreateCampaignOperator,
    SessionMOptInOperator,
    SessionMWriteOperator,
)
from airflow_provider_optimove.sandbox import SessionMSandbox
from airflow_provider_optimove.transfers.sessionm_to_object_storage import SessionMCampaignsToObjectStorageOperator
from airflow_provider_optimove.transfers.to_object_storage import ToObjectStorageOperator
from tests.test_documentation import python_of

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

PAGE = (Path(__file__).parents[1] / "docs" / "sessionm.md").read_text()
WORDS = " ".join(PAGE.split())
CALLING, CATCHING, OPTING_IN, CREATING, READING = python_of("docs/sessionm.md")


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


def tasks_of(snippet: str, folder: Path) -> dict[str, Any]:
    """What a snippet defines, with files in a folder of this machine."""
    names: dict[str, Any] = {}
    exec(compile(snippet.replace("s3://exports", str(folder)), "sessionm.md", "exec"), names)
    return names


def defaults_of(*operators: type[Any]) -> dict[str, Any]:
    """The arguments of classes, one of which derives from the other."""
    return {
        name: parameter.default
        for operator in operators
        for name, parameter in inspect.signature(operator.__init__).parameters.items()
        if name not in ("self", "kwargs")
    }


def told_defaults(section: str) -> dict[str, Any]:
    """The arguments in a section's table with their defaults."""
    content = PAGE.split(f"\n## {section}\n")[1].split("| Argument | Default | Meaning |\n|---|---|---|\n")[1]
    told: dict[str, Any] = {}
    for line in content.split("\n\n")[0].splitlines():
        names, default, _ = (cell.strip() for cell in line.strip("|").split("|"))
        text = default.strip("`")
        value = {"True": True, "False": False, "None": None, "()": (), "100": 100}.get(text, text)
        told |= dict.fromkeys(re.findall(r"`(\w+)`", names), value)
    return told


def test_customers_are_opted_in_as_shown(sessionm_sandbox: SessionMSandbox, tmp_path: Path) -> None:
    with gzip.open(tmp_path / "winter-customers.csv.gz", "wt") as file:
        file.write("Country,external_id\n" + "".join(f"NO,C{number:07}\n" for number in range(16, 24)))
    # Its number is 565.
    sessionm_sandbox.campaigns[565] = replace(sessionm_sandbox.campaigns[1], id=565)
    task = tasks_of(OPTING_IN, tmp_path)["opt_in"]
    result = task.execute({})
    (example,) = re.findall(r'^\{"campaign_id".*\}$', PAGE, re.MULTILINE)
    told = json.loads(example)
    assert list(result) == list(told)
    assert told["customers"] == told["opted_in"] + told["refused"] == told["calls"]
    assert result["campaign_id"] == told["campaign_id"]
    assert result["codes"] == {}
    keys = [name for cell, _ in table("Key | Meaning") for name in re.findall(r"`(\w+)`", cell)]
    assert ["campaign_id", *keys] == list(told)
    # The first line of the results, and the form of the others.
    shown = [json.loads(line) for line in re.findall(r'^\{"row".*\}$', PAGE, re.MULTILINE)]
    lines = [json.loads(line) for line in (tmp_path / "winter-opt-ins.jsonl").read_text().splitlines()]
    assert lines[1] | {"row": 7} == shown[0]
    assert set(shown[1]) == {"row", "external_id", "result", "code"}


def test_the_arguments_of_the_operators() -> None:
    told = told_defaults("Many customers into a campaign")
    defaults = defaults_of(SessionMOptInOperator, SessionMWriteOperator)
    needed = ("campaign_id", "user_ids", "external_ids")
    assert {name: told.pop(name) for name in needed} == dict.fromkeys(needed, "")
    assert told == {name: default for name, default in defaults.items() if name not in needed}
    told = told_defaults("Campaigns as a file")
    assert told.pop("path") == ""
    defaults = defaults_of(SessionMCampaignsToObjectStorageOperator)
    assert told == {name: default for name, default in defaults.items() if name != "path"}
    section = PAGE.split("## Campaigns as a file")[1]
    assert {name for name in defaults_of(ToObjectStorageOperator) if f"`{name}`" not in section} == set()
    section = PAGE.split("## A campaign, created once")[1].split("## ")[0]
    assert {
        name for name in defaults_of(SessionMCreateCampaignOperator, SessionMWriteOperator) if name not in section
    } == set()
    (templates,) = re.findall(r"The connection id, (`campaign_id`.*?) are templates", WORDS)
    fields = {"sessionm_conn_id", "user_ids", "external_ids", *re.findall(r"`(\w+)`", templates)}
    assert fields == set(SessionMOptInOperator.template_fields)


def test_what_is_told_of_doubt_and_refusals() -> None:
    ((codes, _),) = re.findall(r"then the campaign is wrong rather than the customers\. (.*?) are no (\w+)", WORDS)
    assert set(re.findall(r"`(\w+)`", codes)) == set(OF_ALL_CUSTOMERS)
    ((states, _),) = re.findall(r"and the state is (.*?)\. (\w+)", WORDS)
    assert set(re.findall(r"`(\w+)`", states)) == TAKING_PART
    assert f"before every {STRETCH} customers" in WORDS
    assert f"written every {STRETCH} customers" in WORDS
    assert f"up to {STRETCH} customers are in doubt" in WORDS
    assert f"under `{OPT_IN_KEY}`" in WORDS
    assert f"(`{CREATE_KEY}`)" in WORDS
    assert [cell.strip("`") for cell, _ in table("`on_uncertain` | What becomes of them")] == list(
        get_args(get_type_hints(OptInPolicy)["on_uncertain"])
    )


def test_a_campaign_is_created_as_shown(sessionm_sandbox: SessionMSandbox, tmp_path: Path) -> None:
    result = tasks_of(CREATING, tmp_path)["create"].execute({})
    assert sessionm_sandbox.created[0]["external_id"] == result["external_id"]
    ((returned, _),) = re.findall(r"It returns `\{(.*?)\}`, (also) for the events", WORDS)
    assert re.findall(r'"(\w+)"', returned) == list(result)


def test_campaigns_are_read_as_shown(sessionm_sandbox: SessionMSandbox, tmp_path: Path) -> None:
    with gzip.open(tmp_path / "winter-customers.csv.gz", "wt") as file:
        file.write("external_id\nC0000017\nnobody\n")
    tasks = tasks_of(READING, tmp_path)
    assert tasks["active_campaigns"].execute({})["rows"] == 30
    result = tasks["of_customers"].execute({})
    assert (result["customers"], result["missing"]) == (2, 1)
    assert {name for name in result if f"`{name}`" not in PAGE and f'"{name}"' not in PAGE} == set()
    # With these columns there are no secrets in them.
    written = "".join(path.read_text() for path in tmp_path.glob("*.csv"))
    assert "C0000017,promotion,1,Campaign 1," in written
    assert sessionm_sandbox.api_key not in written


def test_the_example() -> None:
    source = (Path(__file__).parents[1] / "example_dags" / "sessionm_to_optimove.py").read_text()
    section = PAGE.split("## Example")[1]
    for dag_id in ("sessionm_promotions", "sessionm_interactions"):
        assert f"`{dag_id}`" in section
        assert f'dag_id="{dag_id}"' in source
    (events,) = re.findall(r"`(\{.*?\})`", section)
    assert events in source
