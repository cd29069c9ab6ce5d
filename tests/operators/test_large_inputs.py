"""A million rows and more: the fewest calls, every customer once, memory that does not grow with the input."""

from __future__ import annotations

import collections
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_optimove.sandbox import OptimoveSandbox

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

COMBINATIONS = [(campaign, template, event) for campaign in (221, 222) for template in (7, 8) for event in (2, 3, 4)]
WORST_GROWTH = 150 * 1024  # kilobytes

# Run in a process of its own, so that only what the operator needs is measured.
SEND = """
import json, pathlib, re, sys
from airflow_provider_optimove.operators.optimove import OptimoveUpdateCampaignInteractionsOperator as Operator

def memory(what):
    return int(re.search(what + r":\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])

rows = {"CampaignID": 221, "ChannelID": 504, "InteractionDate": "2026-11-20", "TemplateID": 7, "EventID": 2}
Operator(task_id="warm_up", interactions=[{"CustomerID": "C0", **rows}]).execute({})
at_rest = memory("VmRSS")
pathlib.Path("/proc/self/clear_refs").write_text("5")  # what was needed so far does not count
result = Operator(task_id="send", interactions=sys.argv[1]).execute({})
growth = memory("VmHWM") - at_rest
pathlib.Path(sys.argv[2]).write_text(json.dumps({**result, "growth": growth}))
"""


def events(path: Path, count: int) -> collections.Counter[tuple[int, int, int]]:
    """A file of interactions in no order, a customer each; how many there are of each combination."""
    seeded = random.Random(count)
    found: collections.Counter[tuple[int, int, int]] = collections.Counter()
    with path.open("w") as file:
        file.write("CustomerID,CampaignID,ChannelID,InteractionDate,TemplateID,EventID\n")
        for start in range(0, count, 10_000):
            drawn = seeded.choices(COMBINATIONS, k=min(10_000, count - start))
            found.update(drawn)
            file.writelines(
                f"C{number},{campaign},504,2026-11-20,{template},{event}\n"
                for number, (campaign, template, event) in enumerate(drawn, start + 1)
            )
    return found


@pytest.mark.parametrize("count", [1_000_000, 4_000_000])
def test_interactions_of_twelve_combinations(optimove_sandbox: OptimoveSandbox, tmp_path: Path, count: int) -> None:
    if sys.platform != "linux":
        pytest.skip("tells memory in another way")
    found = events(tmp_path / "events.csv", count)
    report = tmp_path / "report.json"
    run = subprocess.run(
        [sys.executable, "-c", SEND, str(tmp_path / "events.csv"), str(report)],
        env={**os.environ, "AIRFLOW_CONN_OPTIMOVE_DEFAULT": without_limit(optimove_sandbox)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(report.read_text())
    fewest = sum(-(-rows // 50_000) for rows in found.values())
    assert (result["rows"], result["batches"], result["calls"]) == (count, fewest, fewest)
    calls = optimove_sandbox.interactions[1:]
    arrived: collections.Counter[tuple[int, int, int]] = collections.Counter()
    customers: set[str] = set()
    for call in calls:
        arrived[call["CampaignID"], call["TemplateID"], call["EventID"]] += len(call["CustomerIDs"])
        customers.update(call["CustomerIDs"])
    assert arrived == found
    assert len(customers) == count
    assert 0 < result["growth"] < WORST_GROWTH


def without_limit(sandbox: OptimoveSandbox) -> str:
    connection = json.loads(sandbox.connection)
    return json.dumps({**connection, "extra": {"rate_limit": "off"}})
