"""What the page on Netmera says is what the code does; each of its snippets runs."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_optimove.assets.events import EVENT_FIELDS
from airflow_provider_optimove.clients.netmera import CHANNELS, EVENT_TYPES, FIELDS, SINGLE
from airflow_provider_optimove.exceptions import NetmeraError
from airflow_provider_optimove.hooks.connection_form import extra_fields, field_behaviour
from airflow_provider_optimove.hooks.netmera import NetmeraHook
from airflow_provider_optimove.operators.netmera import STATE, NetmeraPushEventOperator
from airflow_provider_optimove.sandbox import NetmeraSandbox, OptimoveSandbox
from tests.test_documentation import ON_AIRFLOW_3, TaskState, dag_of, python_of

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "netmera.md").read_text()
WORDS = " ".join(PAGE.split())
PUSHING, ON_EVENT, ARRIVED, IN_PYTHON = python_of("docs/netmera.md")
MOMENT = "2026-11-20 08:04:54"
BEGIN, END = "<!-- what comes back: written by tests/test_docs_netmera.py -->\n", "<!-- end -->"
SENT = {"eventTypeId": 13, "timeStamp": MOMENT, "campaignId": 6577, "channelId": 459}


def table(heading: str) -> list[list[str]]:
    """The cells of the table with this heading, without it."""
    lines = PAGE.split(f"| {heading} |", 1)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_connection() -> None:
    labels = field_behaviour("netmera")["relabeling"]
    assert [field for field, _ in table("Field | What to enter")] == [
        labels[name] for name in ("host", "login", "password")
    ]
    section = PAGE.split("## The connection")[1].split("## ")[0]
    assert {name for name in extra_fields("netmera") if f"`{name}`" not in section} == set()
    (fields,) = re.findall(r"AIRFLOW_CONN_NETMERA_DEFAULT='(.*)'", PAGE)
    settings = NetmeraHook.settings_of(Connection(conn_id="mine", **json.loads(fields)))
    assert (settings.app_key, settings.api_key) == ("<app-key>", "<REST-API-key>")
    assert f"nothing: `{settings.http.base_url}`" in PAGE


def test_the_task_runs(netmera_sandbox: NetmeraSandbox, run_dag: Callable[[str], Any]) -> None:
    (run_id,) = re.findall(r"{{ params.campaign_id }}", PUSHING)
    run = run_dag(dag_of(PUSHING.replace(run_id, "6577")))
    assert run.states == {"push": "success"}
    (push,) = netmera_sandbox.pushes
    assert push == {**SENT, "timeStamp": push["timeStamp"]}
    (shown,) = map(json.loads, re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
    (pushed,) = run.xcom("push")["pushed"]
    assert shown == {"pushed": [{**pushed, "timestamp": MOMENT}]}


def test_the_arguments() -> None:
    told = {name.strip("`"): default for name, default, _ in table("Argument | Default | Meaning")}
    signature = inspect.signature(NetmeraPushEventOperator.__init__).parameters
    assert told == {name: str(p.default) for name, p in signature.items() if name not in ("self", "kwargs")}
    assert set(NetmeraPushEventOperator.template_fields) == {*list(told)[:5], "netmera_conn_id"}
    assert " or ".join(map(str, CHANNELS)) in PAGE


def test_the_events() -> None:
    told = {word.strip("`"): int(number) for number, word, _ in table("`event_type` | or | What happened in Optimove")}
    assert told == EVENT_TYPES
    assert ", ".join(f"`{name}`" for name in FIELDS[:3]) + f" and `{FIELDS[3]}`" in PAGE
    for number, left_out, _ in table("Event | What Optimove's guide leaves out | What to do"):
        assert int(number) in EVENT_TYPES.values()
        # In event 4 our reading allows a channel, too, for extra fields come.
        assert ("campaign" in left_out) == ("campaign_id" not in EVENT_FIELDS[int(number)])


@ON_AIRFLOW_3
def test_the_dag_of_an_event_runs(netmera_sandbox: NetmeraSandbox, run_dag: Callable[..., Any]) -> None:
    run = run_dag(ON_EVENT, event=(4, {"EventTypeID": 4, "TimeStamp": MOMENT, "CampaignID": 6577}))
    assert run.states == {"push": "success"}
    assert netmera_sandbox.pushes == [{**SENT, "eventTypeId": 4}]


def test_the_hook_is_used_as_shown(netmera_sandbox: NetmeraSandbox) -> None:
    names: dict[str, Any] = {}
    exec(compile(IN_PYTHON, "netmera.md", "exec"), names)
    bulk, single, cancelled = netmera_sandbox.pushes
    assert bulk == SENT
    assert {**single, "timeStamp": MOMENT} == {
        **SENT,
        "eventTypeId": 11,
        "channelId": 481,
        "customerID": "C0000017",
        "templateID": 48101,
    }
    assert cancelled == {**SENT, "eventTypeId": 4, "timeStamp": "2026-11-20 09:00:00"}
    assert names["told"]["event_type"] == 4


@pytest.mark.parametrize("there", [True, False])
def test_what_to_do_at_3_am(netmera_sandbox: NetmeraSandbox, caplog: pytest.LogCaptureFixture, there: bool) -> None:
    netmera_sandbox.fail("push_event", drop="after" if there else "before")
    state = TaskState()

    def push(**options: Any) -> Any:
        task = NetmeraPushEventOperator(
            task_id="push", event_type=13, campaign_id=6577, channel_id=459, timestamp=MOMENT, **options
        )
        return task.execute({"task_state_store": state})  # type: ignore[typeddict-item]

    caplog.set_level(logging.INFO, "airflow_provider_optimove")
    for _ in range(2):
        with pytest.raises(NetmeraError, match="Look at the campaign in Netmera's panel"):
            push()
    (line,) = re.findall(r"```text\n(.*)\n```", PAGE)
    assert caplog.messages.count(line) == 1
    if there:
        names: dict[str, Any] = {}
        exec(ARRIVED, names)
        state[STATE] = names["arrived"](state[STATE])
        result = push()
    else:
        result = push(on_uncertain="resend")
    assert result["pushed"] == [{"event_type": 13, "campaign_id": 6577, "channel_id": 459, "timestamp": MOMENT}]
    assert netmera_sandbox.pushes == [SENT]
    assert state == {}


@pytest.mark.parametrize(
    ("rows", "fault", "calls", "second"),
    [
        ("any 2xx", {"status": 202, "takes_effect": True}, 1, None),
        ("429,", {"status": 429}, 2, None),
        ("400, 401, 403, 404, another 4xx", {"status": 404}, 1, 1),
        ("a redirect but 303", {"status": 307}, 1, 1),
        *(("the connection breaks", {"status": status}, 1, 0) for status in (303, 408, 425)),
        ("the connection breaks", {"drop": "before"}, 1, 0),
        ("the connection breaks", {"status": 503}, 1, 0),
    ],
)
def test_the_table_of_what_happens(
    netmera_sandbox: NetmeraSandbox,
    monkeypatch: pytest.MonkeyPatch,
    rows: str,
    fault: dict[str, Any],
    calls: int,
    second: int | None,
) -> None:
    """``second``: how many events the next try pushes; None: there is none."""
    monkeypatch.setattr("airflow_provider_optimove.clients.http.time.sleep", lambda seconds: None)
    ((_, call, next_try),) = [
        row for row in table("What happens | What the call does | What the next try does") if row[0].startswith(rows)
    ]
    netmera_sandbox.fail("push_event", **fault)
    state = TaskState()

    def push() -> None:
        task = NetmeraPushEventOperator(task_id="push", event_type=13, campaign_id=6577, channel_id=459)
        task.execute({"task_state_store": state})  # type: ignore[typeddict-item]

    if second is None:
        push()
        assert len(netmera_sandbox.pushes) == 1
    else:
        with pytest.raises(NetmeraError) as caught:
            push()
        assert ("ends without a retry" in call) == caught.value.permanent
        assert ("**in doubt**" in next_try) == caught.value.may_have_happened == (not second)
    assert len(netmera_sandbox.calls) == calls
    if second:
        push()
        assert len(netmera_sandbox.pushes) == second


def no_channels(netmera: NetmeraSandbox) -> None:
    netmera.channels = ()


def another_app(netmera: NetmeraSandbox) -> None:
    netmera.app_key = "another"


def another_key(netmera: NetmeraSandbox) -> None:
    netmera.api_key = "another"


def fault(**what: Any) -> Callable[[NetmeraSandbox], Any]:
    return lambda netmera: netmera.fail("push_event", **what)


ANSWERS: dict[str, Callable[[NetmeraSandbox], Any]] = {
    "it is taken": lambda netmera: None,
    "it is accepted without a body": fault(status=202, body=b"", takes_effect=True),
    "it is taken, and the answer breaks off": fault(body="taken", truncate=True, takes_effect=True),
    "too many calls, once": fault(status=429),
    "too many calls, always": fault(status=429, times=None),
    "a channel that it does not know": no_channels,
    "a wrong app key": another_app,
    "a wrong REST API key": another_key,
    "not permitted": fault(status=403),
    "not found": fault(status=404),
    "a redirect": fault(status=307),
    "a redirect after a POST": fault(status=303, takes_effect=True),
    "the request did not come in time": fault(status=408),
    "it fails, and took it": fault(status=500, takes_effect=True),
    "it cannot be reached behind its proxy": fault(status=503),
    "the connection breaks before it is taken": fault(drop="before"),
    "the connection breaks after it was taken": fault(drop="after"),
}


def what_comes_of(event_type: int, answer: Callable[[NetmeraSandbox], Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """What the stand-in answered, and what the hook makes of it."""
    fields = {"customerID": "C0000017"} if event_type == SINGLE else None
    with NetmeraSandbox() as netmera:
        monkeypatch.setenv("AIRFLOW_CONN_NETMERA_DEFAULT", netmera.connection)
        answer(netmera)
        try:
            NetmeraHook().push_event(event_type, 6577, 459, MOMENT, fields)
            became = "pushed"
        except NetmeraError as error:
            became = "**in doubt**" if error.may_have_happened else "not pushed"
            became += ", ends the task" if error.permanent else ""
        statuses = ["no answer" if call.status is None else f"HTTP {call.status}" for call in netmera.calls]
        if became != "**in doubt**, ends the task":
            assert netmera.pushes == [{**SENT, "eventTypeId": event_type, **(fields or {})}] * (became == "pushed")
    told = f"{len(statuses)} times {statuses[0]}" if len(statuses) > 2 else ", then ".join(statuses)
    return f"{told}: {became}"


def test_what_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_optimove.clients.http.time.sleep", lambda seconds: None)
    heading = " | ".join(f"{number} ({word})" for word, number in EVENT_TYPES.items())
    lines = [f"| What Netmera answers | {heading} |", "|---|---|---|---|"]
    for said, answer in ANSWERS.items():
        cells = [what_comes_of(number, answer, monkeypatch) for number in EVENT_TYPES.values()]
        lines.append(f"| {said} | {' | '.join(cells)} |")
    made = "".join(f"{line}\n" for line in lines)
    found = PAGE.partition(BEGIN)[2].partition(END)[0]
    assert found == made, f"what comes back is now:\n{made}"


def test_the_file_of_counts_is_the_examples(
    optimove_sandbox: OptimoveSandbox, netmera_sandbox: NetmeraSandbox, run_dag: Callable[..., Any], tmp_path: Path
) -> None:
    (shown,) = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    example = (ROOT / "example_dags" / "optimove_to_netmera.py").read_text()
    assert "".join(f"    {line}\n" for line in shown.splitlines()) in example
    (tmp_path / "counts.csv").write_text(shown)
    conf = {"campaign_id": 6577, "channel_id": 459, "counts": str(tmp_path / "counts.csv")}
    run = run_dag(example, conf, dag_id="optimove_to_netmera")
    assert set(run.states.values()) == {"success"}
    assert [(row["MetricID"], row["MetricValue"]) for row in optimove_sandbox.metrics] == [(1, 9120), (2, 1203)]
    assert len(netmera_sandbox.pushes) == 1


def test_names_of_the_page_exist() -> None:
    assert f"`{STATE}`" in PAGE
    assert f"the second under `{STATE}_2`" in WORDS
    for module, name in re.findall(r"^from (airflow_provider_optimove[\w.]+) import (\w+)", PAGE, re.MULTILINE):
        assert hasattr(importlib.import_module(module), name)
