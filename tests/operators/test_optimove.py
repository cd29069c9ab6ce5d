"""OptimoveAddPromotionsOperator: rows in, batches out, in a real Airflow where it matters."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_optimove import exceptions
from airflow_provider_optimove.operators.optimove import OptimoveAddPromotionsOperator
from airflow_provider_optimove.sandbox import OptimoveSandbox

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]


def promotions(count: int) -> list[dict[str, str]]:
    return [{"PromoCode": f"P{number}", "PromotionName": f"Promotion {number}"} for number in range(1, count + 1)]


def operator(rows: Any, **arguments: Any) -> OptimoveAddPromotionsOperator:
    return OptimoveAddPromotionsOperator(task_id="add", promotions=rows, **arguments)


@pytest.mark.parametrize(
    ("rows", "batch_size", "batches"),
    [(1, None, [1]), (100, None, [100]), (250, None, [100, 100, 50]), (5, 2, [2, 2, 1])],
)
def test_batches(optimove_sandbox: OptimoveSandbox, rows: int, batch_size: int | None, batches: list[int]) -> None:
    result = operator(promotions(rows), batch_size=batch_size).execute({})
    assert [call.rows for call in optimove_sandbox.calls] == batches
    assert optimove_sandbox.promotions == {row["PromoCode"]: row["PromotionName"] for row in promotions(rows)}
    assert result == {
        "function": "AddPromotions",
        "rows": rows,
        "batches": len(batches),
        "calls": len(batches),
        "rejected": 0,
        "resumed_rows": 0,
    }


def test_no_rows_need_no_call(optimove_sandbox: OptimoveSandbox) -> None:
    result = operator([]).execute({})
    assert (result["rows"], result["calls"], optimove_sandbox.calls) == (0, 0, [])


def test_calls_count_repeated_ones(optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_optimove.clients.http.time.sleep", lambda seconds: None)
    optimove_sandbox.fail("AddPromotions", status=503, times=2)
    assert operator(promotions(3)).execute({})["calls"] == 3


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"PromoCode": "P1"}, "PromotionName: missing"),
        ({"PromoCode": "", "PromotionName": "x"}, "PromoCode: must not be empty"),
        ({"PromoCode": None, "PromotionName": "x"}, "PromoCode: expected text, got NoneType None"),
        ({"PromoCode": ["P1"], "PromotionName": "x"}, "PromoCode: expected text, got list"),
        ({"PromoCode": "P1", "PromotionName": "x", "Discount": 5}, "'Discount': no such field"),
        ({"PromoCode": "P1", "promocode": "P2", "PromotionName": "x"}, "PromoCode: given twice"),
        ("P1", "expected an object with PromoCode, PromotionName, got 'P1'"),
    ],
)
def test_a_bad_row_is_named_before_anything_is_sent(optimove_sandbox: OptimoveSandbox, row: Any, problem: str) -> None:
    with pytest.raises(exceptions.OptimoveInputError) as caught:
        operator([*promotions(150), row]).execute({})
    assert f"row 151: {problem}" in str(caught.value)
    assert isinstance(caught.value, AirflowFailException)
    assert optimove_sandbox.calls == []


def test_many_bad_rows_show_twenty_and_their_number(optimove_sandbox: OptimoveSandbox) -> None:
    with pytest.raises(exceptions.OptimoveInputError) as caught:
        operator([{"PromoCode": "P1"}] * 30 + promotions(5)).execute({})
    assert "30 of 35 rows are not valid" in str(caught.value)
    assert "row 20: " in str(caught.value)
    assert "row 21: " not in str(caught.value)
    assert "... and 10 more" in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("[{'PromoCode': 'P1', 'PromotionName': 'x'}]", "render_template_as_native_obj"),
        (None, "expected a list of rows or the path of a file, got NoneType"),
        ({"PromoCode": "P1"}, "expected a list of rows or the path of a file, got dict"),
        (5, "expected a list of rows or the path of a file, got int"),
    ],
)
def test_what_is_no_list_is_refused(optimove_sandbox: OptimoveSandbox, rows: Any, problem: str) -> None:
    with pytest.raises(exceptions.OptimoveInputError, match=problem):
        operator(rows).execute({})
    assert optimove_sandbox.calls == []


@pytest.mark.parametrize("batch_size", [0, 101, -1, True, "ten"])
def test_batch_size_within_the_limit(optimove_sandbox: OptimoveSandbox, batch_size: Any) -> None:
    with pytest.raises(exceptions.OptimoveInputError, match="batch_size: expected a whole number from 1 to 100"):
        operator(promotions(2), batch_size=batch_size).execute({})
    assert optimove_sandbox.calls == []


def test_row_keys_in_any_case(optimove_sandbox: OptimoveSandbox) -> None:
    operator([{"promocode": "P1", "PROMOTIONNAME": "One"}, {"PromoCode": 7, "PromotionName": "Seven"}]).execute({})
    assert optimove_sandbox.promotions == {"P1": "One", "7": "Seven"}


def test_a_refused_batch_says_what_was_sent(
    optimove_sandbox: OptimoveSandbox,
) -> None:
    optimove_sandbox.fail("AddPromotions", status=400, body="Promo code is too long", after=1)
    with pytest.raises(exceptions.OptimoveBadRequestError) as caught:
        operator(promotions(250)).execute({})
    assert "Promo code is too long" in str(caught.value)
    assert "on rows 101 to 200; 100 of 250 rows were accepted before; nothing after them was sent" in str(caught.value)
    assert len(optimove_sandbox.promotions) == 100


DAG = """
import pendulum
from airflow.providers.common.compat.sdk import dag, task
from airflow_provider_optimove.operators.optimove import OptimoveAddPromotionsOperator

ROWS = [{"PromoCode": "LIST", "PromotionName": "50% off {{ 7*7 }}"}]

@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1), render_template_as_native_obj=NATIVE)
def DAG_ID():
    @task
    def rows():
        return [{"PromoCode": "XCOM", "PromotionName": "costs {{ 7*7 }}"}]

    @task
    def sets():
        return [[{"PromoCode": f"MAPPED-{n}", "PromotionName": "{{ 7*7 }}"}] for n in range(2)]

    from_xcom = OptimoveAddPromotionsOperator(task_id="from_xcom", promotions=rows())
    from_list = OptimoveAddPromotionsOperator(task_id="from_list", promotions=ROWS)
    mapped = OptimoveAddPromotionsOperator.partial(task_id="mapped").expand(promotions=sets())
    partial = OptimoveAddPromotionsOperator.partial(task_id="partial", promotions=ROWS).expand(batch_size=[1])
    from_template = OptimoveAddPromotionsOperator(
        task_id="from_template", promotions="{{ ti.xcom_pull(task_ids='rows') }}"
    )
    from_xcom >> from_template

DAG_ID()
"""


@pytest.mark.parametrize("native", [True, False])
def test_in_airflow_rows_pass_untouched_and_show_as_a_count(
    optimove_sandbox: OptimoveSandbox, airflow_db: Path, run_dag: Any, native: bool
) -> None:
    source = textwrap.dedent(DAG).replace("NATIVE", str(native)).replace("DAG_ID", f"promotions_{native}".lower())
    run = run_dag(source)
    assert optimove_sandbox.promotions == {
        "LIST": "50% off {{ 7*7 }}",
        "XCOM": "costs {{ 7*7 }}",
        "MAPPED-0": "{{ 7*7 }}",
        "MAPPED-1": "{{ 7*7 }}",
    }
    expected = {"rows": "success", "sets": "success", "from_xcom": "success", "from_list": "success"}
    assert run.states == {
        **expected,
        "mapped": "success",
        "partial": "success",
        "from_template": "success" if native else "failed",
    }
    for task_id in ("from_xcom", "from_list", "mapped", "partial"):
        assert run.rendered(task_id)["promotions"] == "1 row"
