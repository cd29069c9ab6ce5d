"""OptimoveFunctionOperator: every reading function, the limit of rows, secrets, and templates in a real Airflow."""

from __future__ import annotations

import datetime
import importlib.util
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_optimove import exceptions
from airflow_provider_optimove.clients.optimove.functions import api_name, catalogue
from airflow_provider_optimove.operators.optimove import OptimoveFunctionOperator
from airflow_provider_optimove.sandbox import OptimoveSandbox
from airflow_provider_optimove.sandbox.account import Listener

pytest_plugins = ["airflow_provider_optimove.sandbox.pytest_plugin"]


def _calls_of_all_functions() -> Any:
    path = Path(__file__).parents[1] / "test_all_functions.py"
    spec = importlib.util.spec_from_file_location("calls_of_all_functions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CALLS = _calls_of_all_functions()
sandbox, hook, looked_up = CALLS.sandbox, CALLS.hook, CALLS.looked_up
READS = [python_name for python_name in CALLS.ARGUMENTS if catalogue()[api_name(python_name)].reads]
WRITES = [api_name(python_name) for python_name in CALLS.ARGUMENTS if python_name not in READS]
PAGED, UNPAGED = "GetCampaignInteractionCustomers", "GetPromotions"
OF_THE_DAY = {"Date": "2026-11-20", "ChannelID": 504, "EventID": 5}
KEY = "fake/key+of=tests-6f1d"
LISTENER_SECRET = "fake listener & secret-71aa"
FOREIGN = "fake-foreign-22cd"


def operator(function: str, parameters: Any = None, **arguments: Any) -> OptimoveFunctionOperator:
    return OptimoveFunctionOperator(task_id="read", function=function, parameters=parameters, **arguments)


def read(function: str, parameters: Any = None, **arguments: Any) -> Any:
    return operator(function, parameters, **arguments).execute({})


def have_rows(sandbox: OptimoveSandbox, count: int) -> None:
    """So many rows of a function that pages, and of one that does not."""
    sandbox.promotions |= {f"P{number}": "Promotion" for number in range(count)}
    told = {"CampaignID": 1_000_000, "InteractionDate": datetime.date(2026, 11, 20), "ChannelID": 504, "EventID": 5}
    customers = [f"C{number}" for number in range(count)]
    sandbox.interactions.append({**told, "TemplateID": 7, "RecipientGroupID": 1, "CustomerIDs": customers})


# Every function


@pytest.mark.parametrize("python_name", READS)
def test_every_reading_function(
    hook: Any, sandbox: OptimoveSandbox, looked_up: dict[str, int], python_name: str
) -> None:
    function = catalogue()[api_name(python_name)]
    given = CALLS.arguments_of(python_name, looked_up)
    parameters = {api_name(name): str(value) if isinstance(value, int) else value for name, value in given.items()}
    if function.name == "GetCurrentlyTargetedCustomers":
        parameters["$top"] = "900"  # of more rows than may be read at once
    before = len(sandbox.calls)
    answer = read(function.name, parameters)
    made = sandbox.calls[before:]
    assert [(call.function, call.status) for call in made] == [(function.name, 200)]
    assert made[0].query.get("$top") == parameters.get("$top", "1001" if function.paged else None)
    CALLS.check(python_name, answer)
    if function.answer == "date":
        assert answer == {"Date": "2026-11-19"}
    if function.name != "GetRegisteredEventListeners":
        assert answer == hook.call(function.name, parameters)
    assert json.loads(json.dumps(answer)) == answer


def test_there_are_57_functions_that_read() -> None:
    assert (len(READS), len(WRITES)) == (57, 16)


def test_names_in_any_case(optimove_sandbox: OptimoveSandbox) -> None:
    assert read("getactionname", {"actionid": " 2 "}) == {"ActionName": "10% bonus"}
    assert read("get_action_name", {"action_id": 2}) == {"ActionName": "10% bonus"}


@pytest.mark.parametrize(
    ("function", "parameters", "empty"),
    [("GetPromotions", None, []), (PAGED, OF_THE_DAY, []), ("GetActionName", {"ActionID": 999}, None)],
)
def test_no_data(optimove_sandbox: OptimoveSandbox, function: str, parameters: Any, empty: Any) -> None:
    optimove_sandbox.promotions.clear()
    assert read(function, parameters) == empty


# The limit


@pytest.mark.parametrize(("function", "parameters"), [(PAGED, OF_THE_DAY), (UNPAGED, None)])
def test_as_many_rows_as_allowed(optimove_sandbox: OptimoveSandbox, function: str, parameters: Any) -> None:
    optimove_sandbox.promotions.clear()
    have_rows(optimove_sandbox, 1_000)
    answer = read(function, parameters)
    assert len({tuple(row.items()) for row in answer}) == len(answer) == 1_000
    assert len(optimove_sandbox.calls) == 1


@pytest.mark.parametrize("count", [1_001, 25_000])
@pytest.mark.parametrize(("function", "parameters"), [(PAGED, OF_THE_DAY), (UNPAGED, None)])
def test_more_rows_are_refused_after_one_call(
    optimove_sandbox: OptimoveSandbox, function: str, parameters: Any, count: int
) -> None:
    optimove_sandbox.promotions.clear()
    have_rows(optimove_sandbox, count)
    with pytest.raises(exceptions.OptimoveInputError) as caught:
        read(function, parameters)
    assert isinstance(caught.value, AirflowFailException)
    assert str(caught.value) == (
        f"{function}: more than 1,000 rows, which is too much for an XCom; write them to a file with"
        " OptimoveToObjectStorageOperator of airflow_provider_optimove.transfers.optimove_to_object_storage"
    )
    asked = "1001" if function == PAGED else None
    assert [call.query.get("$top") for call in optimove_sandbox.calls] == [asked]


@pytest.mark.parametrize(
    ("page", "asked", "rows"),
    [
        ({"$top": 5}, ("5", None), range(5)),
        ({"$TOP": "5", "$skip": "10"}, ("5", "10"), range(10, 15)),
        ({"$top": 1_000}, ("1000", None), range(1_000)),
        ({"$top": 200_000, "$skip": 24_500}, ("1001", "24500"), range(24_500, 25_000)),
        ({"$skip": 24_000}, ("1001", "24000"), range(24_000, 25_000)),
    ],
)
def test_a_page_of_ones_own(
    optimove_sandbox: OptimoveSandbox, page: dict[str, Any], asked: tuple[str, str | None], rows: range
) -> None:
    have_rows(optimove_sandbox, 25_000)
    answer = read(PAGED, {**OF_THE_DAY, **page})
    assert [row["CustomerID"] for row in answer] == [f"C{number}" for number in rows]
    assert [(call.query.get("$top"), call.query.get("$skip")) for call in optimove_sandbox.calls] == [asked]


@pytest.mark.parametrize("page", [{"$top": 1_001}, {"$top": 50_000}, {"$skip": 0}, {"$skip": 23_999}])
def test_the_limit_holds_for_a_page_of_ones_own(optimove_sandbox: OptimoveSandbox, page: dict[str, Any]) -> None:
    have_rows(optimove_sandbox, 25_000)
    with pytest.raises(exceptions.OptimoveInputError, match="more than 1,000 rows"):
        read(PAGED, {**OF_THE_DAY, **page})
    assert [call.query["$top"] for call in optimove_sandbox.calls] == ["1001"]


def test_an_account_that_does_not_page(optimove_sandbox: OptimoveSandbox) -> None:
    optimove_sandbox.refuse_top = ("GetValueSegmentChangers",)
    parameters = dict.fromkeys(("StartDate", "EndDate"), optimove_sandbox.last_data_update)
    assert read("GetValueSegmentChangers", parameters)
    assert ["$top" in call.query for call in optimove_sandbox.calls] == [True, False]


# What is refused


@pytest.mark.parametrize("function", WRITES)
def test_functions_that_write_are_refused(optimove_sandbox: OptimoveSandbox, function: str) -> None:
    with pytest.raises(exceptions.OptimoveInputError) as caught:
        read(function.upper())
    assert isinstance(caught.value, AirflowFailException)
    instead = {
        "Login": "gives a token, which is a secret; the hook itself logs in where it has to",
        "RegisterEventListener": "writes, and this operator only reads; use OptimoveRegisterEventListenerOperator",
        "UnregisterEventListener": "writes, and this operator only reads; use OptimoveUnregisterEventListenerOperator",
    }
    use = f"writes, and this operator only reads; use Optimove{function}Operator"
    assert str(caught.value) == f"{function}: {instead.get(function, use)}"
    assert optimove_sandbox.calls == []


@pytest.mark.parametrize("function", ["GetPromotion", "", None, "{{ nothing }}"])
def test_unknown_functions(optimove_sandbox: OptimoveSandbox, function: Any) -> None:
    with pytest.raises(exceptions.OptimoveUnknownFunctionError, match="Optimove has no function") as caught:
        read(function)
    assert isinstance(caught.value, AirflowFailException)
    assert optimove_sandbox.calls == []


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ("{'CampaignID': 221}", "parameters: expected an object with values by name, got text. Pass"),
        ("None", "parameters: expected an object with values by name, got text. Pass"),
        ({"campaign_id": 221, "customer_attributes": "['Alias']"}, "CustomerAttributes: expected a list, got text"),
        ({"CampaignID": 221, "CustomerAttributes": "('Alias',)"}, "CustomerAttributes: expected a list, got text"),
    ],
)
def test_what_a_template_made_text_of(optimove_sandbox: OptimoveSandbox, parameters: Any, problem: str) -> None:
    with pytest.raises(exceptions.OptimoveInputError, match="render_template_as_native_obj=True") as caught:
        read("GetProcessedCampaignCustomers", parameters)
    assert problem in str(caught.value)
    assert isinstance(caught.value, AirflowFailException)
    assert optimove_sandbox.calls == []


def test_brackets_in_a_text_are_text(optimove_sandbox: OptimoveSandbox) -> None:
    assert read("GetActionID", {"ActionName": "[VIP] nothing"}) is None
    assert optimove_sandbox.calls[0].query["ActionName"] == "[VIP] nothing"


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        (["CampaignID"], "parameters: expected an object with values by name, got list"),
        ({"CampaignID": "x"}, "CampaignID: expected a whole number of 0 or more, got 'x'"),
        ({"CampaignID": 1, "Campain": 2}, "'Campain': no such parameter"),
        (None, "CampaignID: required"),
    ],
)
def test_bad_parameters_need_no_call(optimove_sandbox: OptimoveSandbox, parameters: Any, problem: str) -> None:
    with pytest.raises(exceptions.OptimoveInputError) as caught:
        read("GetProcessedCampaignCustomers", parameters)
    assert problem in str(caught.value)
    assert isinstance(caught.value, AirflowFailException)
    assert optimove_sandbox.calls == []


def test_a_refused_key_ends_the_task(optimove_sandbox: OptimoveSandbox) -> None:
    optimove_sandbox.api_key = "another"
    with pytest.raises(exceptions.OptimoveAuthenticationError) as caught:
        read("GetPromotions")
    assert isinstance(caught.value, AirflowFailException)


def test_a_failing_server_is_for_a_retry(optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_optimove.clients.http.time.sleep", lambda seconds: None)
    optimove_sandbox.fail("GetPromotions", status=503, times=None)
    with pytest.raises(exceptions.OptimoveServerError) as caught:
        read("GetPromotions")
    assert not isinstance(caught.value, AirflowFailException)


def test_nothing_is_read_before_execution() -> None:
    operator("NoSuchFunction", "{{ nothing }}", optimove_conn_id="no_such_connection")


# Secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://host/path?token={FOREIGN}", "https://host/path?token=***"),
        (f"https://host:8443/a/b?x={FOREIGN}&y={FOREIGN}", "https://host:8443/a/b?x=***&y=***"),
        (f"https://host/path?{FOREIGN}", "https://host/path?***"),
        (f"https://host/path?{FOREIGN}==", "https://host/path?***"),
        (f"https://host/path?x={FOREIGN}%26y%3D{FOREIGN}", "https://host/path?x=***"),
        (f"https://user:{FOREIGN}@host/path", "https://***@host/path"),
        (f"https://{FOREIGN}@host/path?x={FOREIGN}", "https://***@host/path?x=***"),
        (f"https://host/path#access_token={FOREIGN}", "https://host/path#access_token=***"),
        (f"https://host/path?x=1#{FOREIGN}", "https://host/path?x=***"),
        ("https://host:8443/@team/hook", "https://host:8443/@team/hook"),
    ],
)
@pytest.mark.parametrize("times_encoded", [0, 1, 2])
@pytest.mark.parametrize("field", ["ListenerURL", "listenerUrl", "listener_url", "Url"])
def test_secrets_in_the_url_of_a_listener(
    optimove_sandbox: OptimoveSandbox, url: str, shown: str, times_encoded: int, field: str
) -> None:
    for _ in range(times_encoded):
        url = quote(url, safe="")
    optimove_sandbox.fail("GetRegisteredEventListeners", body=json.dumps([{"EventTypeID": 1, field: url}]))
    assert read("GetRegisteredEventListeners") == [{"EventTypeID": 1, field: shown}]


def test_a_half_encoded_url_shows_nothing_of_its_query(optimove_sandbox: OptimoveSandbox) -> None:
    for mark in ("%3F", "%3f", "%253F", "%23"):
        rows = [{"ListenerURL": f"https://host/path{mark}token%3D{FOREIGN}"}, {"ListenerURL": None}]
        optimove_sandbox.fail("GetRegisteredEventListeners", body=json.dumps(rows))
        assert read("GetRegisteredEventListeners") == [
            {"ListenerURL": f"https://host/path{mark}***"},
            {"ListenerURL": None},
        ]


@pytest.mark.parametrize("form", ['"{}"', '{{"message": "{}"}}', '{{"ListenerURL": "{}"}}', '[["{}"]]', "{}"])
def test_listeners_in_another_form_are_not_shown(optimove_sandbox: OptimoveSandbox, form: str) -> None:
    url = f"https://host/path?token={FOREIGN}"
    optimove_sandbox.fail("GetRegisteredEventListeners", body=form.format(url))
    with pytest.raises(exceptions.OptimoveResponseError, match="expected an array of rows") as caught:
        read("GetRegisteredEventListeners")
    assert FOREIGN not in f"{caught.value!r} {caught.value} {caught.value.__dict__}"


def test_urls_of_other_functions_are_left_alone(optimove_sandbox: OptimoveSandbox) -> None:
    row = {"PromoCode": "P1", "PromotionName": "https://host/?x=1", "ImageURL": "https://host/?size=5"}
    optimove_sandbox.fail("GetPromotions", body=json.dumps([row]))
    assert read("GetPromotions") == [row]


def connection_with_secrets(sandbox: OptimoveSandbox) -> str:
    fields = {**json.loads(sandbox.connection), "extra": {"listener_secret": LISTENER_SECRET}}
    return json.dumps(fields)


@pytest.mark.parametrize("secret", [KEY, LISTENER_SECRET])
@pytest.mark.parametrize("form", [str, quote, lambda text: quote(text, safe="")])
def test_secrets_of_the_connection_in_any_text(
    optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch, secret: str, form: Callable[[str], str]
) -> None:
    optimove_sandbox.api_key = KEY
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", connection_with_secrets(optimove_sandbox))
    said = f"a {form(secret)} b"
    metrics = {"TemplateID": 127, "Note": {"deep": [said, 5, None, True]}}
    optimove_sandbox.fail("GetTransactionalTemplateMetrics", body=json.dumps(metrics))
    assert read("GetTransactionalTemplateMetrics", {"TemplateID": 127}) == {
        "TemplateID": 127,
        "Note": {"deep": ["a *** b", 5, None, True]},
    }
    optimove_sandbox.promotions = {"P1": said}
    assert read("GetPromotions") == [{"PromoCode": "P1", "PromotionName": "a *** b"}]
    # As it is in the query, "&" and "=" of the secret's own would separate names and values.
    optimove_sandbox.listeners[:] = [Listener(13, None, f"https://host/{form(secret)}/path?x={secret}")]
    assert read("GetRegisteredEventListeners") == [
        {"EventTypeID": 13, "ChannelID": None, "ListenerURL": "https://host/***/path?x=***"}
    ]


def test_password_and_token_of_a_login(optimove_sandbox: OptimoveSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    optimove_sandbox.password = "fake password-93c2"
    fields = {**json.loads(optimove_sandbox.login_connection), "extra": {"session_cache": "memory"}}
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT", json.dumps(fields))
    tokens: list[str] = []
    give_token = optimove_sandbox.sessions.login

    def noted_token(accepted: bool) -> str:
        token = give_token(accepted)
        tokens.append(token)
        optimove_sandbox.promotions = {"P1": optimove_sandbox.password, "P2": token}
        return token

    monkeypatch.setattr(optimove_sandbox.sessions, "login", noted_token)
    assert read("GetPromotions") == [
        {"PromoCode": "P1", "PromotionName": "***"},
        {"PromoCode": "P2", "PromotionName": "***"},
    ]
    assert len(tokens) == 1


# The log


@pytest.mark.parametrize(
    ("function", "parameters", "said"),
    [
        ("GetLastDataUpdate", None, "GetLastDataUpdate: an object, 1 call"),
        ("GetValueSegments", None, "GetValueSegments: 4 rows, 1 call"),
        ("GetActionName", {"ActionID": 999}, "GetActionName: no data, 1 call"),
        (PAGED, OF_THE_DAY, f"{PAGED}: no data, 1 call"),
    ],
)
def test_the_log_counts(
    optimove_sandbox: OptimoveSandbox,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    function: str,
    parameters: Any,
    said: str,
) -> None:
    caplog.set_level("INFO")
    read(function, parameters)
    assert said in caplog.text + capfd.readouterr().out


def test_the_log_counts_repeated_calls(
    optimove_sandbox: OptimoveSandbox,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("airflow_provider_optimove.clients.http.time.sleep", lambda seconds: None)
    caplog.set_level("INFO")
    optimove_sandbox.fail("GetValueSegments", status=503, times=2)
    read("GetValueSegments")
    assert "GetValueSegments: 4 rows, 3 calls" in caplog.text + capfd.readouterr().out


def test_the_log_names_no_customer(
    optimove_sandbox: OptimoveSandbox, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    have_rows(optimove_sandbox, 3)
    email = "ada.fake@example.com"
    optimove_sandbox.listeners.append(Listener(13, None, f"https://host/path?token={FOREIGN}"))
    assert len(read(PAGED, OF_THE_DAY)) == 3
    assert read("GetTransactionalUserMetrics", {"Email": email}) is None
    assert read("GetRegisteredEventListeners")
    captured = capfd.readouterr()
    written = caplog.text + captured.out + captured.err
    assert f"{PAGED}: 3 rows, 1 call" in written
    for private in ("C0", "C1", email, quote(email), FOREIGN):
        assert private not in written


# In Airflow

DAG = """
import pendulum
from airflow.providers.common.compat.sdk import dag, task
from airflow_provider_optimove.operators.optimove import OptimoveFunctionOperator

@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    render_template_as_native_obj=NATIVE,
    params={"conn_id": "elsewhere", "function": "GetActionName"},
)
def DAG_ID():
    @task
    def wanted():
        return {"ActionID": 2}

    @task
    def attributes():
        return ["Alias", "Country"]

    templates = OptimoveFunctionOperator(
        task_id="templates",
        function="{{ params.function }}",
        parameters={"ActionID": "{{ ti.xcom_pull(task_ids='wanted')['ActionID'] }}"},
        optimove_conn_id="{{ params.conn_id }}",
    )
    output = OptimoveFunctionOperator(
        task_id="output", function="GetActionName", parameters=wanted(), optimove_conn_id="elsewhere"
    )
    whole = OptimoveFunctionOperator(
        task_id="whole",
        function="GetActionName",
        parameters="{{ ti.xcom_pull(task_ids='wanted') }}",
        optimove_conn_id="elsewhere",
    )
    listed = OptimoveFunctionOperator(
        task_id="listed",
        function="GetMicrosegmentChangers",
        parameters={"CustomerAttributes": "{{ ti.xcom_pull(task_ids='attributes') }}", "$top": "2"},
        optimove_conn_id="elsewhere",
    )
    mapped = OptimoveFunctionOperator.partial(
        task_id="mapped", function="GetActionName", optimove_conn_id="elsewhere"
    ).expand(parameters=[{"ActionID": 1}, {"ActionID": 2}])
    listeners = OptimoveFunctionOperator(
        task_id="listeners", function="GetRegisteredEventListeners", optimove_conn_id="elsewhere"
    )
    output >> [templates, whole]
    attributes() >> listed

DAG_ID()
"""


@pytest.mark.parametrize("native", [True, False])
def test_in_airflow(
    optimove_sandbox: OptimoveSandbox,
    airflow_db: Path,
    run_dag: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    native: bool,
) -> None:
    caplog.set_level("DEBUG")
    optimove_sandbox.api_key = KEY
    optimove_sandbox.listeners.append(Listener(13, 505, f"https://host/path?token={FOREIGN}"))
    optimove_sandbox.listeners.append(Listener(3, None, f"https://host/{quote(LISTENER_SECRET)}?x={LISTENER_SECRET}"))
    monkeypatch.delenv("AIRFLOW_CONN_OPTIMOVE_DEFAULT")
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", connection_with_secrets(optimove_sandbox))
    dag_id = f"any_function_{native}".lower()

    run = run_dag(DAG.replace("NATIVE", str(native)).replace("DAG_ID", dag_id))

    by_text = "success" if native else "failed"
    assert run.states == {
        "wanted": "success",
        "attributes": "success",
        "templates": "success",
        "output": "success",
        "whole": by_text,
        "listed": by_text,
        "mapped": "success",
        "listeners": "success",
    }
    name = {"ActionName": "10% bonus"}
    assert run.xcom("templates") == run.xcom("output") == run.xcom("mapped", 1) == name
    assert run.xcom("whole") == (name if native else None)
    if native:
        assert [list(map(type, row["CustomerAttributes"])) for row in run.xcom("listed")] == [[str, str]] * 2
    assert run.xcom("listeners") == [
        {"EventTypeID": 13, "ChannelID": 505, "ListenerURL": "https://host/path?token=***"},
        {"EventTypeID": 3, "ChannelID": None, "ListenerURL": "https://host/***?x=***"},
    ]
    rendered = run.rendered("templates")
    assert (rendered["function"], rendered["optimove_conn_id"]) == ("GetActionName", "elsewhere")
    assert rendered["parameters"] == {"ActionID": 2 if native else "2"}

    captured = capfd.readouterr()
    texts = [caplog.text, captured.out, captured.err]
    with sqlite3.connect(airflow_db) as database:
        for query in (
            "SELECT value FROM xcom WHERE dag_id = ?",
            "SELECT rendered_fields FROM rendered_task_instance_fields WHERE dag_id = ?",
        ):
            kept = [str(value) for (value,) in database.execute(query, (dag_id,))]
            assert len(kept) >= 5
            texts += kept
    for secret in (KEY, LISTENER_SECRET, FOREIGN):
        for form in (secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]):
            assert not [text for text in texts if form in text]
