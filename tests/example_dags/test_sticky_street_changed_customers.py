"""The example DAG of Sticky Street's changed customers, copied unchanged into the dags folder of a real Airflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_optimove.sandbox import OptimoveSandbox, StickyStreetSandbox
from tests.conftest import DagRunResult

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]

SOURCE = (Path(__file__).parents[2] / "example_dags" / "sticky_street_changed_customers.py").read_text()
Run = Callable[..., DagRunResult]
VARIABLE = "sticky_street_last.sticky_street_changed_customers.changed_customers"


@pytest.fixture
def forgotten(airflow_db: Path) -> Iterator[None]:
    """No id is left for the next test."""
    from airflow.models import Variable
    from airflow.utils.session import create_session

    yield
    with create_session() as session:
        session.query(Variable).delete()


@pytest.fixture
def run_example(run_dag: Callable[..., DagRunResult], forgotten: None, tmp_path: Path) -> Run:
    """Runs the example, or what a test makes of it."""
    return lambda source=SOURCE: run_dag(source, {"folder": str(tmp_path)})


def kept() -> str:
    from airflow.models import Variable
    from airflow.utils.session import create_session

    with create_session() as session:
        return str(json.loads(session.query(Variable).filter_by(key=VARIABLE).one().val)["last"])


def test_wishes_become_preferences_once(
    optimove_sandbox: OptimoveSandbox,
    sticky_street_sandbox: StickyStreetSandbox,
    run_example: Run,
) -> None:
    sticky_street_sandbox.customers = 8
    first = run_example()
    assert set(first.states.values()) == {"success"}
    assert first.xcom("sort_by_wish") == {"allowed": 4, "stopped": 2, "left": 2}
    preferences = optimove_sandbox.preferences[504, None]
    wished = {"C0000000": 1, "C0000001": 2, "C0000002": 1, "C0000004": 1, "C0000005": 2, "C0000006": 1}
    assert preferences == wished
    assert kept() == "8"

    # Nothing has changed: nothing is read, and nothing sent.
    calls = len(optimove_sandbox.calls)
    quiet = run_example()
    assert set(quiet.states.values()) == {"success"}
    assert quiet.xcom("changed_customers")["rows"] == 0
    assert (kept(), len(optimove_sandbox.calls)) == ("8", calls)

    last = sticky_street_sandbox.change(0, custom1="No")
    last = sticky_street_sandbox.change(3, custom1="Yes")
    last = sticky_street_sandbox.change(4, custom1="maybe")
    later = run_example()
    assert later.xcom("changed_customers")["rows"] == 3
    assert later.xcom("sort_by_wish") == {"allowed": 1, "stopped": 1, "left": 1}
    assert preferences == {**wished, "C0000000": 2, "C0000003": 1}
    assert kept() == str(last)
    asked = [call.fields["last"] for call in sticky_street_sandbox.calls]
    assert asked == ["0", "8", "8"]


def test_what_optimove_did_not_take_is_in_the_file(
    optimove_sandbox: OptimoveSandbox,
    sticky_street_sandbox: StickyStreetSandbox,
    run_example: Run,
) -> None:
    sticky_street_sandbox.customers = 4
    optimove_sandbox.fail("SetCustomerChannelPreference", status=403, body="not for you", times=None)
    run = run_example()
    assert run.states["changed_customers"] == "success"
    assert (run.states["mail_allowed"], run.states["mail_stopped"]) == ("failed", "failed")
    result: dict[str, Any] = run.xcom("changed_customers")
    assert (result["rows"], result["last"]) == (4, "4")
    stopped = Path(result["path"]).parent / "stopped.jsonl"
    assert stopped.read_text() == '{"CustomerID": "C0000001"}\n'


def test_what_fails_of_the_one_does_not_hold_back_the_other(
    optimove_sandbox: OptimoveSandbox,
    sticky_street_sandbox: StickyStreetSandbox,
    run_example: Run,
) -> None:
    sticky_street_sandbox.customers = 4
    optimove_sandbox.fail("SetCustomerChannelPreference", status=400, body="wrong", times=1)
    run = run_example()
    (told,) = [mode for mode, name in ((1, "mail_allowed"), (2, "mail_stopped")) if run.states[name] == "success"]
    assert sorted(run.states.values()) == ["failed", "success", "success", "success"]
    wished = {"C0000000": 1, "C0000001": 2, "C0000002": 1}
    assert optimove_sandbox.preferences[504, None] == {who: mode for who, mode in wished.items() if mode == told}


def test_nobody_who_said_no_is_mailed(
    optimove_sandbox: OptimoveSandbox,
    sticky_street_sandbox: StickyStreetSandbox,
    run_example: Run,
) -> None:
    sticky_street_sandbox.customers = 0
    # Twice in the loyalty program, with different wishes, in both orders.
    for number, (customer_id, wish) in enumerate(
        [("C1", "yes"), ("C1", "no"), ("C2", "no"), ("C2", "yes"), ("C3", "yes")]
    ):
        sticky_street_sandbox.change(number, customer_username=customer_id, custom1=wish)
    run = run_example()
    assert set(run.states.values()) == {"success"}
    assert run.xcom("sort_by_wish") == {"allowed": 1, "stopped": 2, "left": 0}
    assert optimove_sandbox.preferences[504, None] == {"C1": 2, "C2": 2, "C3": 1}
    sent = [call.function for call in optimove_sandbox.calls if call.function == "SetCustomerChannelPreference"]
    assert len(sent) == 2


def test_an_older_run_sends_nothing_after_a_later_one(
    optimove_sandbox: OptimoveSandbox,
    sticky_street_sandbox: StickyStreetSandbox,
    run_example: Run,
) -> None:
    # A later run reads on between what the run has read and what it sends.
    sticky_street_sandbox.customers = 4
    reads_on = """
def wants_mail(said):
    from airflow.providers.common.compat.sdk import Variable

    kept = json.loads(Variable.get(VARIABLE))
    Variable.set(VARIABLE, json.dumps({**kept, "last": "99"}))
    return said == "yes"


@dag("""
    run = run_example(SOURCE.replace("\n@dag(", reads_on, 1))
    assert run.states["sort_by_wish"] == "success"
    assert (run.states["mail_allowed"], run.states["mail_stopped"]) == ("failed", "failed")
    assert optimove_sandbox.preferences == {}
