"""Opting in many: whatever breaks, everybody is in, nobody twice, and the report is complete. Over real HTTP."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_optimove.clients import long_writes
from airflow_provider_optimove.clients.sessionm import opt_ins
from airflow_provider_optimove.clients.sessionm.opt_ins import Customer, OptInPolicy, OptIns
from airflow_provider_optimove.exceptions import SessionMError
from airflow_provider_optimove.sandbox.sessionm import SessionMSandbox

if TYPE_CHECKING:
    from tests.clients.sessionm.conftest import Connect

CAMPAIGN = 1
STRETCH = 7
REFUSED = "user_ineligible_for_campaign"


class Killed(BaseException):
    """What a worker that is killed does not live to see."""


class TimeIsUp(BaseException):
    """What Airflow raises in a task at the end of its time."""


class Task:
    """A task that opts in, with all that outlives its tries: the journal, the report, and what was logged.

    ``dies_in`` is what it is killed by, and after how many of these: ``call``, ``answer``, ``save``, ``saved`` or
    ``report``.
    """

    def __init__(self, sandbox: SessionMSandbox, connect: Connect, count: int, **policy: Any) -> None:
        self.sandbox = sandbox
        self.connect = connect
        self.ids = [customer.external_id or "" for customer in sandbox.customers[:count]]
        self.policy = OptInPolicy(**{"fail_on_rejected": False, **policy})
        self.campaign = CAMPAIGN
        self.http: dict[str, Any] = {}
        self.journal: str | None = None
        self.report: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.saves = self.tries = 0
        self.remembers = True
        self.alive = True
        self.dies_in: tuple[str, int] | None = None

    def run(self, **policy: Any) -> opt_ins.OptInOutcome:
        self.tries += 1
        self.alive = True
        with self.connect(self.sandbox.url, **self.http) as client, pytest.MonkeyPatch.context() as patch:
            patch.setattr(requests.Session, "request", self._request(requests.Session.request))
            task = OptIns(
                client,
                self.campaign,
                [Customer(row, customer) for row, customer in enumerate(self.ids, 1)],
                "external_id",
                journal=self if self.remembers else None,
                report=self,
                policy=replace(self.policy, earlier_tries=self.tries > 1, **policy),
                log=self,
            )
            outcome = task.run()
            task.finish()
        return outcome

    def fails(self, **policy: Any) -> SessionMError:
        with pytest.raises(SessionMError) as caught:
            self.run(**policy)
        return caught.value

    def is_killed(self, where: str, after: int) -> None:
        self.dies_in = (where, after)
        with pytest.raises(Killed):
            self.run()

    @property
    def opted_in(self) -> Counter[str]:
        """How often each customer was opted in."""
        by_id = {customer.user_id: customer.external_id or "" for customer in self.sandbox.customers}
        return Counter(by_id[opt_in.user_id] for opt_in in self.sandbox.opt_ins)

    @property
    def eligible(self) -> list[str]:
        return [customer for number, customer in enumerate(self.ids) if (number + CAMPAIGN) % 10]

    def results(self) -> dict[str, str]:
        """What the report says, of whom each line is; it has one a customer, in order."""
        assert [(line["row"], line["external_id"]) for line in self.report] == list(enumerate(self.ids, 1))
        assert {line.get("code") for line in self.report if line["result"] == "refused"} <= {REFUSED}
        return {line["external_id"]: line["result"] for line in self.report}

    # How it dies

    def _dies(self, where: str) -> None:
        if not self.alive:
            raise Killed
        if self.dies_in is not None and self.dies_in[0] == where:
            self.dies_in = (where, self.dies_in[1] - 1)
            if self.dies_in[1] < 0:
                self.dies_in = None
                self.alive = False
                raise Killed

    def _request(self, request: Callable[..., Any]) -> Callable[..., Any]:
        def dying(session: Any, *arguments: Any, **options: Any) -> Any:
            self._dies("call")
            answer = request(session, *arguments, **options)
            self._dies("answer")
            return answer

        return dying

    # Its journal

    def load(self) -> Any:
        return None if self.journal is None else json.loads(self.journal)

    def save(self, state: dict[str, Any]) -> None:
        self._dies("save")
        self.saves += 1
        self.journal = json.dumps(state)
        self._dies("saved")

    def clear(self) -> None:
        self.journal = None

    finish = clear

    # Its report

    def start(self, kept: int) -> None:
        assert kept <= len(self.report)
        del self.report[kept:]

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        told = [dict(row) for row in rows]
        self.report += told[: len(told) // 2]
        self._dies("report")
        self.report += told[len(told) // 2 :]

    # Its log

    def info(self, message: str, *arguments: Any) -> None:
        self.said.append(message % arguments)

    warning = info


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opt_ins, "STRETCH", STRETCH)
    monkeypatch.setattr("airflow_provider_optimove.clients.http.time.sleep", lambda seconds: None)


@pytest.fixture
def task(sessionm: SessionMSandbox, connect: Connect) -> Task:
    return Task(sessionm, connect, 30)


# All goes well


def test_everybody_is_opted_in_and_reported(task: Task) -> None:
    outcome = task.run()
    assert task.opted_in == Counter(task.eligible)
    assert outcome == opt_ins.OptInOutcome(27, 3, {REFUSED: 3}, 0)
    assert task.results() == {customer: "opted_in" if customer in task.eligible else "refused" for customer in task.ids}
    # Before each stretch and behind it; nothing is left.
    assert task.saves == 2 * -(-30 // STRETCH)
    assert task.journal is None
    assert len(task.sandbox.calls) == 30


def test_users_by_sessionms_own_id(sessionm: SessionMSandbox, connect: Connect) -> None:
    customers = [Customer(number + 1, customer.user_id) for number, customer in enumerate(sessionm.customers[:5])]
    policy = OptInPolicy()
    task = Task(sessionm, connect, 0)
    OptIns(connect(sessionm.url), "1", customers, "user_id", journal=None, report=task, policy=policy, log=task).run()
    assert [opt_in.user_id for opt_in in sessionm.opt_ins] == [customer.id for customer in customers]
    assert task.report[4] == {"row": 5, "user_id": customers[4].id, "result": "opted_in"}


def test_how_far_it_is(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_writes, "LOG_INTERVAL", 0.0)
    task.run()
    told = [line.partition(" done")[0] for line in task.said if " done" in line]
    assert told == [f"opt_in: {done} of 30 customers" for done in (7, 14, 21, 28, 30)]
    assert any("customers a second, about " in line for line in task.said)


# Customers who are refused


def test_refused_customers_do_not_hold_up_the_others(task: Task) -> None:
    task.sandbox.refuse("opt_in", "User_not_found", customer="C0000003")
    error = task.fails(fail_on_rejected=True)
    assert task.opted_in == Counter(set(task.eligible) - {"C0000003"})
    assert error.permanent
    assert not error.may_have_happened
    expected = f"4 of 30 customers were refused: 1 x User_not_found, 3 x {REFUSED}. 26 were opted in"
    assert expected in error.message
    assert "opt_in: the customer of row 4 is refused: User_not_found" in task.said
    # Cleared, it asks everybody, and tries those again who are not in.
    task.sandbox.forgive()
    calls_before = len(task.sandbox.calls)
    outcome = task.run()
    assert task.opted_in == Counter(task.eligible)
    assert (outcome.opted_in, outcome.refused, outcome.resumed) == (27, 3, 0)
    assert len(task.sandbox.calls) - calls_before == 30 + 4
    assert Counter(task.results().values()) == {"was_opted_in": 26, "opted_in": 1, "refused": 3}
    assert "opt_in: 26 of the 30 customers in doubt took part already" in task.said


def test_the_policy_of_the_try_that_is_cleared_counts(task: Task) -> None:
    # Not that of the try that ended with refused customers.
    task.fails(fail_on_rejected=True, on_uncertain="check")
    for policy in ("fail", "resend"):
        error = task.fails(fail_on_rejected=True, on_uncertain=policy)
        assert "does not opt them in again" in error.message
    assert len(task.sandbox.calls) == 30
    task.run()
    assert [call.function for call in task.sandbox.calls[30:]].count("progress") == 30
    assert task.opted_in == Counter(task.eligible)


def test_a_try_that_opts_in_again_forgets_nobody_in_doubt(task: Task) -> None:
    task.is_killed("answer", 12)
    for _ in range(2):
        task.sandbox.fail("opt_in", status=429, times=5)
        task.fails(on_uncertain="resend")
        assert any("rows 8 to 14; they are opted in again" in line for line in task.said)
        task.said.clear()
    task.run()
    assert [call.function for call in task.sandbox.calls].count("progress") == STRETCH
    assert task.opted_in == Counter(task.eligible)


def test_other_customers_between_two_tries_settle_no_doubt(task: Task) -> None:
    ids = task.ids
    task.is_killed("answer", 12)
    task.ids = ids[:29]
    task.sandbox.fail("opt_in", status=429, times=5)
    task.fails(on_uncertain="resend")
    task.ids = ids
    task.run()
    assert task.opted_in == Counter(task.eligible)


@pytest.mark.parametrize("policy", ["fail", "resend"])
def test_otherwise_a_cleared_task_opts_nobody_in_again(task: Task, policy: str) -> None:
    for _ in range(2):
        error = task.fails(fail_on_rejected=True, on_uncertain=policy)
        assert "does not opt them in again; give them to a new one" in error.message
        assert len(task.sandbox.calls) == 30


@pytest.mark.parametrize("policy", ["check", "fail"])
def test_too_many_refused_customers(task: Task, policy: str) -> None:
    task.sandbox.refuse("opt_in", REFUSED)
    error = task.fails(max_rejected=3, on_uncertain=policy)
    assert (error.permanent, error.may_have_happened) == (True, False)
    assert "3 of 30 customers were refused, which is where it stops (max_rejected)" in error.message
    assert len(task.sandbox.calls) == len(task.report) == 3
    task.sandbox.forgive()
    outcome = task.run(on_uncertain=policy)
    asked_again = policy == "check"
    assert task.opted_in == Counter(task.eligible if asked_again else task.eligible[3:])
    assert outcome.refused == (3 if asked_again else 6)
    task.results()


def test_who_is_in_doubt_stays_so_where_too_many_are_refused(task: Task) -> None:
    task.run()
    # Cleared, everybody is in doubt, also those behind the one at whom it stops.
    task.fails(max_rejected=1)
    assert len(task.report) < 15
    task.run()
    assert task.opted_in == Counter(task.eligible)


def test_an_unknown_reason_is_one_too(task: Task) -> None:
    # Accounts have codes of their own, in any letter case.
    task.sandbox.refuse("opt_in", "Household_Opt_Out" + "!" * 500, customer="C0000005")
    outcome = task.run()
    assert outcome.codes == {REFUSED: 3, ("Household_Opt_Out" + "!" * 500)[:100]: 1}


@pytest.mark.parametrize(
    "code",
    ["opt_in_ended", "OPT_IN_NOT_STARTED", "opt_in_limit_reached", "No_active_campaign_found", "Invalid_api_key"],
)
def test_what_holds_for_all_customers_stops_at_once(task: Task, code: str) -> None:
    task.sandbox.refuse("opt_in", code, customer="C0000010")
    error = task.fails()
    assert (error.code, error.permanent, error.may_have_happened) == (code, True, False)
    assert "on the customer of row 11" in error.message
    assert "9 of 30 customers were opted in and 1 refused before, and nobody after" in error.message
    assert task.opted_in == Counter(task.eligible[:9])
    # Mended and cleared, it goes on there.
    task.sandbox.forgive()
    outcome = task.run()
    assert outcome.resumed == 10
    assert task.opted_in == Counter(task.eligible)
    assert not [call for call in task.sandbox.calls if call.function == "progress"]
    task.results()


TOO_MANY = json.dumps({"status": "error", "errors": {"code": "rate_limited"}})


@pytest.mark.parametrize(
    "answer",
    [{"status": 403}, {"status": 404, "body": "nothing here"}, {"status": 429}, {"status": 429, "body": TOO_MANY}],
)
def test_what_names_no_reason_stops_at_once(task: Task, answer: dict[str, Any]) -> None:
    task.sandbox.fail("opt_in", **answer, after=10, times=5)
    error = task.fails()
    assert not error.may_have_happened
    assert error.permanent == (answer["status"] != 429)
    task.sandbox.faults.clear()
    assert task.run().resumed == 10
    assert task.opted_in == Counter(task.eligible)


# Customers in doubt

LOST: list[dict[str, Any]] = [
    {"drop": "after"},
    {"drop": "before"},
    {"status": 500},
    {"status": 502, "takes_effect": True, "body": "<html>Bad gateway</html>"},
    {"truncate": True},
    {"body": "<html>Welcome</html>"},
]


@pytest.mark.parametrize(
    ("keeps", "policy", "words"),
    [
        (True, {"on_uncertain": "check"}, "The next try asks first whether that customer takes part"),
        (True, {"on_uncertain": "resend"}, "The next try opts that customer in again"),
        (False, {"on_uncertain": "check"}, "The next try asks first who of all customers takes part"),
        (True, {"on_uncertain": "check", "durable": False}, "The next try asks first who of all customers takes part"),
        (False, {"on_uncertain": "resend"}, "The next try opts all customers in again"),
    ],
)
def test_a_lost_answer_tells_what_the_next_try_does(
    sessionm: SessionMSandbox, connect: Connect, keeps: bool, policy: dict[str, Any], words: str
) -> None:
    task = Task(sessionm, connect, 10, **policy)
    task.remembers = keeps
    sessionm.fail("opt_in", drop="after", after=4)
    assert f"in doubt: the customer of row 5. {words})" in task.fails().message
    sessionm.calls.clear()
    task.run()
    asked = [call.function for call in sessionm.calls]
    nothing_kept = not keeps or not policy.get("durable", True)
    if policy["on_uncertain"] == "check":
        assert asked.count("progress") == (10 if nothing_kept else 1)
    else:
        assert asked == ["opt_in"] * (10 if nothing_kept else 6)


@pytest.mark.parametrize("fault", LOST, ids=str)
def test_after_a_lost_answer_the_next_try_asks(task: Task, fault: dict[str, Any]) -> None:
    task.sandbox.fail("opt_in", **fault, after=11)
    error = task.fails()
    assert (error.permanent, error.may_have_happened) == (False, True)
    assert "in doubt: the customer of row 12. The next try asks first" in error.message
    assert "10 of 30 customers were opted in and 1 refused before, and nobody after" in error.message
    arrived = task.opted_in["C0000011"] == 1
    outcome = task.run()
    assert outcome.resumed == 11
    assert task.opted_in == Counter(task.eligible)
    assert task.results()["C0000011"] == ("was_opted_in" if arrived else "opted_in")
    assert [call.function for call in task.sandbox.calls].count("progress") == 1
    assert any("what became of the customer of row 12; SessionM is asked first" in line for line in task.said)


@pytest.mark.parametrize("policy", ["fail", "resend"])
def test_a_lost_answer_otherwise(task: Task, policy: str) -> None:
    task.sandbox.fail("opt_in", drop="after", after=11)
    error = task.fails(on_uncertain=policy)
    assert (error.permanent, error.may_have_happened) == (policy == "fail", True)
    again = task.eligible[:]
    if policy == "fail":
        error = task.fails(on_uncertain="fail")
        assert (error.permanent, error.may_have_happened) == (True, True)
        assert "what became of the customer of row 12. Nothing was sent now. Look in SessionM" in error.message
        assert "on_uncertain='check'" in error.message
        task.run()
    else:
        task.run(on_uncertain="resend")
        assert any("the customer of row 12; they are opted in again" in line for line in task.said)
        again += ["C0000011"]
    assert task.opted_in == Counter(again)
    task.results()


@pytest.mark.parametrize("where", ["call", "answer"])
def test_a_worker_that_is_killed(task: Task, where: str) -> None:
    task.is_killed(where, 10)
    done_before = len(task.opted_in)
    assert task.fails(on_uncertain="fail").message.startswith(
        "an earlier try ended before it was known what became of 7 customers, rows 8 to 14. Nothing was sent now."
    )
    assert len(task.opted_in) == done_before
    calls_before = len(task.sandbox.calls)
    outcome = task.run()
    assert (outcome.opted_in, outcome.refused, outcome.resumed) == (27, 3, 7)
    assert task.opted_in == Counter(task.eligible)
    asked = [call.function for call in task.sandbox.calls[calls_before:]].count("progress")
    assert asked == STRETCH
    assert Counter(task.results().values()) == {
        "opted_in": 27 - (done_before - 7),
        "was_opted_in": done_before - 7,
        "refused": 3,
    }


def test_the_end_of_its_time_is_a_doubt_only_amid_a_call(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    request = requests.Session.request

    def too_late(*arguments: Any, **options: Any) -> Any:
        answer = request(*arguments, **options)
        if len(task.sandbox.calls) == 12:
            raise TimeIsUp
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(requests.Session, "request", too_late)
        with pytest.raises(TimeIsUp):
            task.run()
    assert task.load() | {"fingerprint": ""} == {
        "fingerprint": "",
        "done": 11,
        "sending": 1,
        "opted_in": 10,
        "refused": 1,
        "codes": {REFUSED: 1},
        "gave_up": False,
    }

    # In the pause after a 429 it is none.
    def too_late_in_a_pause(seconds: float) -> None:
        raise TimeIsUp

    task.sandbox.fail("opt_in", status=429, after=8)
    with monkeypatch.context() as patch:
        patch.setattr("airflow_provider_optimove.clients.http.time.sleep", too_late_in_a_pause)
        with pytest.raises(TimeIsUp):
            task.run()
    assert (task.load()["done"], task.load()["sending"]) == (20, 0)
    task.run()
    assert task.opted_in == Counter(task.eligible)


@pytest.mark.parametrize(
    ("told", "takes_part"),
    [
        ({"opted_in": True, "state": "completed"}, True),
        ({"opted_in": "true"}, True),
        ({"state": "in_progress"}, True),
        ({"state": "Completed"}, True),
        ({"opted_in": False, "state": "opted_out"}, False),
        ({"opted_in": False, "state": "completed"}, False),
        ({"state": "qualified"}, False),
        ({"state": "not_qualified"}, False),
        ({"state": "pending"}, None),
        ({"opted_in": "perhaps", "state": "completed"}, None),
        ({"behaviors": [], "campaign_id": 1}, None),
    ],
)
def test_who_takes_part(task: Task, told: dict[str, Any], takes_part: bool | None) -> None:
    task.ids = task.ids[:1]
    task.is_killed("call", 0)
    task.sandbox.fail("progress", body=json.dumps({"status": "ok", "campaign": told}))
    if takes_part is None:
        error = task.fails()
        assert (error.permanent, error.may_have_happened) == (True, True)
        assert "the customer of row 1 may be opted in, and SessionM's answer does not tell" in error.message
        assert task.run(on_uncertain="resend").opted_in == 1
    else:
        task.run()
        assert task.results() == {"C0000000": "was_opted_in" if takes_part else "opted_in"}
        assert task.opted_in.total() == (not takes_part)


def test_a_check_that_fails(task: Task) -> None:
    task.is_killed("answer", 3)
    # Somebody who is not known is surely not opted in; the opt-in then says so itself.
    task.sandbox.refuse("progress", "User_not_found", customer="C0000001")
    task.sandbox.refuse("progress", "no_campaign_found", customer="C0000002")
    error = task.fails()
    assert (error.code, error.permanent) == ("no_campaign_found", True)
    assert "asked because the customer of row 3 may be opted in" in error.message
    task.sandbox.forgive()
    # Away for a while: Airflow tries again.
    task.sandbox.fail("progress", status=503, times=9)
    error = task.fails()
    assert not error.permanent
    task.sandbox.faults.clear()
    task.run()
    assert task.opted_in == Counter([*task.eligible, "C0000001"])
    task.results()


# What is remembered


@pytest.mark.parametrize("remembers", [True, False])
def test_without_memory_a_retry_asks_everybody(task: Task, remembers: bool) -> None:
    # Before Airflow 3.3, or told not to remember.
    task.remembers = remembers
    task.sandbox.fail("opt_in", drop="after", after=11)
    task.fails(durable=False)
    error = task.fails(durable=False, on_uncertain="fail")
    assert error.message.startswith("this is not the first try, and nothing tells what the earlier ones sent. Nothing")
    calls_before = len(task.sandbox.calls)
    outcome = task.run(durable=False)
    assert task.opted_in == Counter(task.eligible)
    assert (outcome.opted_in, outcome.refused, outcome.resumed) == (27, 3, 0)
    assert Counter(task.results().values()) == {"was_opted_in": 11, "opted_in": 16, "refused": 3}
    assert len(task.sandbox.calls) - calls_before == 30 + 19
    task.run(durable=False, on_uncertain="resend")
    assert task.opted_in == Counter(task.eligible * 2)


def test_a_try_that_remembers_knows_of_one_that_did_not(task: Task) -> None:
    task.sandbox.fail("opt_in", drop="after", after=11)
    task.fails(durable=False)
    assert task.load() == {"durable": False}
    assert "was not recorded" in task.fails(on_uncertain="fail").message
    task.run()
    assert task.opted_in == Counter(task.eligible)


def test_a_task_that_is_cleared_after_its_success(task: Task) -> None:
    task.run()
    task.run()
    assert task.opted_in == Counter(task.eligible)
    assert set(task.results().values()) == {"was_opted_in", "refused"}
    # Who does not want to be asked, gets what the task says.
    task.run(on_uncertain="fail")
    assert task.opted_in == Counter(task.eligible * 2)


@pytest.mark.parametrize("change", ["customers", "campaign", "account"])
def test_another_input_asks_everybody(task: Task, sessionm: SessionMSandbox, connect: Connect, change: str) -> None:
    task.sandbox.refuse("opt_in", "opt_in_ended", customer="C0000012")
    task.fails()
    task.sandbox.forgive()
    if change == "customers":
        task.ids = [customer.external_id or "" for customer in reversed(sessionm.customers)]
    elif change == "campaign":
        task.campaign = 10
    else:
        sessionm.api_key = "another fake key"
        task.http = {"api_key": sessionm.api_key}
    error = task.fails(on_uncertain="fail")
    assert "are not those of the earlier try, in which 11 were opted in, and 0 may have been" in error.message
    task.run()
    assert [call.function for call in task.sandbox.calls].count("progress") == 30
    if change != "campaign":
        assert set(task.opted_in.values()) == {1}
    else:
        assert {opt_in.campaign_id for opt_in in sessionm.opt_ins[11:]} == {10}


def test_progress_that_cannot_be_recorded(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(state: dict[str, Any]) -> None:
        if task.saves == 3:
            raise ConnectionError("no API server")
        task.saves += 1
        task.journal = json.dumps(state)

    with monkeypatch.context() as patch:
        patch.setattr(task, "save", away)
        error = task.fails()
    assert "the progress could not be recorded, so nothing more is sent; 13 of 30 customers were" in error.message
    assert not error.permanent
    assert len(task.sandbox.calls) == 14
    task.run()
    assert task.opted_in == Counter(task.eligible)


def test_what_broke_is_told_though_it_cannot_be_recorded(task: Task) -> None:
    task.sandbox.fail("opt_in", drop="after", after=2)

    def away(state: dict[str, Any]) -> None:
        if task.saves == 1:
            raise ConnectionError("no API server")
        task.saves += 1
        task.journal = json.dumps(state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "save", away)
        error = task.fails()
    assert "in doubt: the customer of row 3" in error.message
    assert any("the progress could not be recorded" in line for line in task.said)
    task.run()
    assert task.opted_in == Counter(task.eligible)
    assert Counter(task.results().values()) == {"was_opted_in": 3, "opted_in": 24, "refused": 3}


def test_no_ids_and_no_secrets_are_kept(task: Task) -> None:
    task.is_killed("answer", 12)
    kept = str(task.journal)
    assert not any(secret in kept for secret in (*task.ids, task.sandbox.api_key, task.sandbox.api_secret))


# Whatever breaks

PLACES = ["call", "answer", "save", "saved", "report"]


@pytest.mark.parametrize("seed", range(30))
def test_everybody_once_whatever_breaks(sessionm: SessionMSandbox, connect: Connect, seed: int) -> None:
    chance = random.Random(seed)
    task = Task(sessionm, connect, chance.randrange(1, 31), max_rejected=chance.choice([2, 100]))
    task.remembers = chance.random() < 0.8
    for _ in range(chance.randrange(12)):
        fault = chance.choice([*LOST, {"status": 429, "times": 9}, {"status": 403}])
        sessionm.fail(chance.choice(["opt_in", "opt_in", "progress"]), **fault, after=chance.randrange(30))
    for _ in range(60):
        if chance.random() < 0.5:
            task.dies_in = (chance.choice(PLACES), chance.randrange(12))
        try:
            outcome = task.run(fail_on_rejected=chance.random() < 0.3)
        except (SessionMError, Killed):
            # Airflow tries again, or somebody clears the task.
            task.policy = replace(task.policy, max_rejected=100)
            continue
        if chance.random() < 0.5:
            break
        # Somebody clears it though it has succeeded.
        task.policy = replace(task.policy, max_rejected=chance.choice([1, 2, 100]))
    else:
        raise AssertionError("no end")
    assert task.opted_in == Counter(task.eligible)
    assert {customer for customer, result in task.results().items() if result != "refused"} == set(task.eligible)
    assert (outcome.opted_in, outcome.refused) == (len(task.eligible), len(task.ids) - len(task.eligible))
    assert task.journal is None
