"""Send the rows of one file in one way, and tell as JSON what it took.

Run by ``writes.py`` in a process of its own a measurement::

    python -m tests.benchmarks.write_contestant <contestant> <function> <source> <folder> <server>

The folder holds each input twice: below ``few``, sent before the clock starts so that everything is imported and
compiled, and below ``all``.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import requests

from tests.benchmarks.measuring import Run, measured

ROWS_A_CALL = 50_000
PREFERENCE, INTERACTIONS = "SetCustomerChannelPreference", "UpdateCampaignInteractions"


# The loops that a user would write: as fast as they are without being hard to read, and nothing is checked.


class Loop:
    """Reads a source row by row and posts the rows in batches.

    :param function: Optimove's name.
    :param server: the server's address.
    """

    def __init__(self, function: str, server: str) -> None:
        self.url = f"{server}/current/integrations/{function}"
        self.session = requests.Session()
        self.session.headers["X-API-KEY"] = "key"

    def post(self, body: dict[str, Any]) -> None:
        self.session.post(self.url, json=body, timeout=300).raise_for_status()

    def set_preferences(self, customer_ids: Iterable[str]) -> None:
        iterator = iter(customer_ids)
        while batch := list(islice(iterator, ROWS_A_CALL)):
            self.post({"ChannelID": 15, "CustomerIDs": batch, "CommunicationMode": 2})

    def post_interactions(self, key: tuple[Any, ...], customer_ids: list[str]) -> None:
        campaign, channel, date, template, event = key
        self.post(
            {
                "CampaignID": int(campaign),
                "ChannelID": int(channel),
                "InteractionDate": date,
                "TemplateID": int(template),
                "EventID": int(event),
                "CustomerIDs": customer_ids,
            }
        )

    def update_interactions(self, rows: Iterable[dict[str, Any]]) -> None:
        groups: defaultdict[tuple[Any, ...], list[str]] = defaultdict(list)
        for row in rows:
            key = (row["CampaignID"], row["ChannelID"], row["InteractionDate"], row["TemplateID"], row["EventID"])
            customer_ids = groups[key]
            customer_ids.append(row["CustomerID"])
            if len(customer_ids) == ROWS_A_CALL:
                self.post_interactions(key, groups.pop(key))
        for key, customer_ids in groups.items():
            self.post_interactions(key, customer_ids)

    def update_interactions_of_lists(self, rows: Iterable[list[str]]) -> None:
        groups: defaultdict[tuple[Any, ...], list[str]] = defaultdict(list)
        for customer, campaign, channel, date, template, event in rows:
            key = (campaign, channel, date, template, event)
            customer_ids = groups[key]
            customer_ids.append(customer)
            if len(customer_ids) == ROWS_A_CALL:
                self.post_interactions(key, groups.pop(key))
        for key, customer_ids in groups.items():
            self.post_interactions(key, customer_ids)


def loop(function: str, source: str, file: Path, server: str) -> Run:
    """The loop over a list, over JSON Lines with ``json.loads``, over CSV with ``csv.reader``."""
    if source == "list":
        rows = the_list(function, file)
        one = Loop(function, server)
        return lambda: (one.set_preferences if function == PREFERENCE else one.update_interactions)(rows)

    def run() -> None:
        one = Loop(function, server)
        with file.open(newline="") as opened:
            if source == "jsonl" and function == PREFERENCE:
                one.set_preferences(json.loads(line)["CustomerID"] for line in opened)
            elif source == "jsonl":
                one.update_interactions(map(json.loads, opened))
            else:
                reader = csv.reader(opened)
                next(reader)
                if function == PREFERENCE:
                    one.set_preferences(row[0] for row in reader)
                else:
                    one.update_interactions_of_lists(reader)

    return run


def loop_with_dict_reader(function: str, source: str, file: Path, server: str) -> Run:
    """The loop over CSV with ``csv.DictReader``."""

    def run() -> None:
        one = Loop(function, server)
        with file.open(newline="") as opened:
            rows: Iterator[dict[str, Any]] = csv.DictReader(opened)
            if function == PREFERENCE:
                one.set_preferences(row["CustomerID"] for row in rows)
            else:
                one.update_interactions(rows)

    return run


# The provider


class StateStore(dict[str, Any]):
    """Airflow's ``task_state_store``, as far as tasks use it. Airflow's own takes about 10 ms a write."""

    writes = 0

    def set(self, key: str, value: Any, **kwargs: Any) -> None:
        json.dumps(value)
        self[key] = value
        self.writes += 1

    def delete(self, key: str) -> None:
        self.pop(key, None)
        self.writes += 1


def operator(function: str, source: str, file: Path, server: str) -> Run:
    """The operator: its fields are rendered by Airflow, then it is executed."""
    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_optimove.operators import optimove

    extra = {"rate_limit": "off"}
    connection = {"conn_type": "optimove", "host": server, "password": "key", "extra": extra}
    os.environ["AIRFLOW_CONN_OPTIMOVE_DEFAULT"] = json.dumps(connection)
    rows = the_list(function, file) if source == "list" else str(file)
    with DAG("benchmark", schedule=None) as dag:
        task: Any
        if function == PREFERENCE:
            task = optimove.OptimoveSetCustomerChannelPreferenceOperator(
                task_id="task", channel_id=15, customer_ids=rows, communication_mode=2
            )
        else:
            task = optimove.OptimoveUpdateCampaignInteractionsOperator(task_id="task", interactions=rows)
    context: Any = {
        "dag": dag,
        "task": task,
        "ti": SimpleNamespace(task=task, try_number=1, map_index=-1),
        "task_state_store": StateStore(),
        "outlet_events": {},
    }

    def run() -> int:
        task.render_template_fields(context)
        task.execute(context)
        writes: int = context["task_state_store"].writes
        return writes

    return run


# The floor


def ready_made_bodies(function: str, source: str, file: Path, server: str) -> Run:
    """Posts bodies that were encoded before."""
    bodies = file.with_suffix(".bodies").read_bytes().splitlines()

    def run() -> None:
        session = requests.Session()
        for body in bodies:
            url = f"{server}/current/integrations/{function}"
            headers = {"X-API-KEY": "key", "Content-Type": "application/json"}
            session.post(url, data=body, headers=headers, timeout=300).raise_for_status()

    return run


CONTESTANTS: dict[str, Callable[[str, str, Path, str], Run]] = {
    "operator": operator,
    "loop": loop,
    "loop-with-dict-reader": loop_with_dict_reader,
    "ready-made-bodies": ready_made_bodies,
}


def the_list(function: str, file: Path) -> list[Any]:
    with file.with_suffix(".jsonl").open() as lines:
        rows = [json.loads(line) for line in lines]
    return [row["CustomerID"] for row in rows] if function == PREFERENCE else rows


def main() -> None:
    name, function, source, folder, server = sys.argv[1:]

    def prepared(part: str) -> Run:
        suffix = ".jsonl" if source == "list" else f".{source}"
        return CONTESTANTS[name](function, source, Path(folder, part, function).with_suffix(suffix), server)

    prepared("few")()
    run = prepared("all")
    counted = requests.get(f"{server}/count", timeout=60).json()
    told = measured(run)
    now = requests.get(f"{server}/count", timeout=60).json()
    print(json.dumps({what: now[what] - counted[what] for what in now} | told))


if __name__ == "__main__":
    main()
