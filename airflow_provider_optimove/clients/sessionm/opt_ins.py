"""Opts many customers into a campaign, so that nobody is left out, and nobody opted in twice by accident.

Each opt-in is a call of its own. Before a stretch of them, the journal says how many customers are done and how many
after them may be on their way. Whoever goes on after a crash reads there who is in doubt, and asks for their progress.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, NoReturn, Protocol

import msgspec

from airflow_provider_optimove.clients.answers import clipped
from airflow_provider_optimove.clients.long_writes import Journal, Log, Pace, Record, UnknownProgressError
from airflow_provider_optimove.clients.sessionm.client import SessionMClient
from airflow_provider_optimove.clients.sessionm.endpoints import CAMPAIGN_NOT_FOUND, INVALID_API_KEY, USER_NOT_FOUND
from airflow_provider_optimove.exceptions import MOST_PROBLEMS_SHOWN, RemoteSystemError, SessionMError

OPERATION = "opt_in"

STRETCH = 50
"""Customers that may be in doubt after a crash. To record each one would take as long as its call."""

# Reasons that hold for every customer: the key, the campaign or its time is wrong, or the campaign is full.
OF_ALL_CUSTOMERS = (
    *(*CAMPAIGN_NOT_FOUND, INVALID_API_KEY),
    *("opt_in_not_started", "opt_in_ended", "opt_in_limit_reached"),
)

TAKING_PART = {"opted_in", "in_progress", "completed"}
NOT_TAKING_PART = {"qualified", "not_qualified", "opted_out"}

LONGEST_CODE = 100

ADVICE = (
    "Look in SessionM who takes part. Cleared with on_uncertain='check', the task asks SessionM itself; with 'resend'"
    " it opts them in again, which may count twice. docs/sessionm.md tells more"
)

Result = dict[str, Any]
CustomerKind = Literal["user_id", "external_id"]


class Customer(NamedTuple):
    """Somebody to opt in.

    :param row: the first row of the input that names the customer, from 1.
    :param id: the id, of a kind that all customers share.
    """

    row: int
    id: str


class Progress(msgspec.Struct, kw_only=True):
    """How far the opt-ins have come; what the journal keeps. No customer's id is in it.

    :param fingerprint: which campaign and customers it is about.
    :param done: customers of whom it is known what became of them.
    :param sending: customers after them who may have been opted in.
    :param opted_in: how many of those who are done are in the campaign.
    :param refused: how many of them SessionM refused.
    :param codes: the same by error code.
    :param gave_up: whether the try ended because customers were refused.
    """

    fingerprint: str
    done: int = 0
    sending: int = 0
    opted_in: int = 0
    refused: int = 0
    codes: dict[str, int] = {}
    gave_up: bool = False


class Report(Protocol):
    """Is told what became of each customer."""

    def start(self, kept: int) -> None:
        """Go on after so many rows; whatever was told after them is forgotten."""
        ...

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows down."""
        ...


@dataclass(frozen=True)
class OptInPolicy:
    """What to do where a choice is the user's.

    :param on_uncertain: what to do about customers who may have been opted in before: ask SessionM for their progress
        (``check``), stop (``fail``), or send the opt-in again (``resend``).
    :param fail_on_rejected: whether it is an error at the end that customers were refused.
    :param max_rejected: refused customers at which to stop.
    :param durable: whether to go on where an earlier try ended.
    :param earlier_tries: whether this task has been tried before.
    :param last_try: whether no other try comes by itself: a customer whom SessionM cannot opt in for reasons that may
        pass is then refused, and does not hold up the others any longer.
    """

    on_uncertain: Literal["check", "fail", "resend"] = "check"
    fail_on_rejected: bool = True
    max_rejected: int = 100
    durable: bool = True
    earlier_tries: bool = False
    last_try: bool = False


@dataclass(frozen=True)
class OptInOutcome:
    """What became of the customers.

    :param opted_in: who is in the campaign now.
    :param refused: whom SessionM refused.
    :param codes: the same by error code.
    :param resumed: how many of both were done in earlier tries.
    """

    opted_in: int
    refused: int
    codes: Mapping[str, int]
    resumed: int


class OptIns:
    """Opts customers into a campaign, one after the other.

    :param client: what sends.
    :param campaign_id: the campaign, by SessionM's number.
    :param customers: who; nobody twice.
    :param kind: what their ids are.
    :param journal: keeps the progress; None where nothing can be kept.
    :param report: is told what became of each; None: nobody asks.
    :param policy: what to do where a choice is the user's.
    :param log: the task's.
    """

    def __init__(
        self,
        client: SessionMClient,
        campaign_id: int | str,
        customers: Sequence[Customer],
        kind: CustomerKind,
        *,
        journal: Journal | None,
        report: Report | None,
        policy: OptInPolicy,
        log: Log,
    ) -> None:
        self._client = client
        self._campaign_id = campaign_id
        self._customers = customers
        self._kind = kind
        self._report = report
        self._policy = policy
        self._log = log
        self._record = Record(
            journal, durable=policy.durable, failed=partial(SessionMError, function=OPERATION), so_far=self._so_far
        )
        self._progress = Progress(fingerprint=self._fingerprint())
        self._doubt_ends = 0
        self._refusals_told = self._found = 0
        self._asks = policy.on_uncertain == "check"

    def run(self) -> OptInOutcome:
        """Opt in who is not known to be in.

        :raises SessionMError: a call failed; or customers are in doubt, or were refused, and the policy says that this
            is an error. What is done stays done.
        """
        self._begin()
        resumed = self._progress.done
        self._doubt_ends = resumed + self._progress.sending
        self._pace = Pace(resumed, "customers")
        if self._report is not None:
            self._report.start(resumed)
        while self._progress.done < len(self._customers):
            if self._progress.refused >= self._policy.max_rejected:
                self._give_up(", which is where it stops (max_rejected): then the campaign is wrong, not the customers")
            self._opt_in_a_stretch()
        self._say_how_far()
        if self._doubt_ends and self._asks:
            found, asked = f"{self._found:,}", f"{self._doubt_ends - resumed:,}"
            self._log.info("%s: %s of the %s customers in doubt took part already", OPERATION, found, asked)
        progress = self._progress
        if progress.refused and self._policy.fail_on_rejected:
            self._give_up()
        return OptInOutcome(progress.opted_in, progress.refused, progress.codes, resumed)

    def finish(self) -> None:
        """Note that all is done; the last thing that a task does."""
        self._record.finish()

    # Where to begin

    def _fingerprint(self) -> str:
        account = (self._client.settings.http.base_url, self._client.settings.api_key)
        ids = [customer.id for customer in self._customers]
        return hashlib.sha256(msgspec.json.encode([account, str(self._campaign_id), self._kind, ids])).hexdigest()

    def _begin(self) -> None:
        """Find out what is done and who is in doubt."""
        everybody = len(self._customers)
        try:
            saved = self._record.load(Progress)
        except UnknownProgressError:
            self._doubt("what the earlier try sent was not recorded, or not in a form that is known", everybody)
            return
        if saved is None:
            # What a cleared task did before, when it had succeeded, is forgotten. To ask harms nobody.
            if self._policy.earlier_tries and (not self._record.remembers or self._policy.on_uncertain == "check"):
                self._doubt("this is not the first try, and nothing tells what the earlier ones sent", everybody)
            self._record.mark()
        elif saved.fingerprint != self._progress.fingerprint:
            if saved.done or saved.sending:
                self._doubt(
                    f"the campaign or the customers are not those of the earlier try, in which {saved.opted_in:,} were"
                    f" opted in, and {saved.sending:,} may have been",
                    everybody,
                )
        elif saved.gave_up and self._asks:
            self._doubt("the earlier try ended with customers who were refused", saved.done + saved.sending)
        else:
            self._progress = saved
            saved.gave_up = False
            if saved.sending:
                self._doubt(
                    f"an earlier try ended before it was known what became of {self._described(saved.sending)}",
                    saved.sending,
                )
            self._log.info(
                "%s: going on where the earlier try ended: %s of %s customers are done",
                *(OPERATION, f"{saved.done:,}", f"{everybody:,}"),
            )

    def _doubt(self, what: str, count: int) -> None:
        """Decide about the next customers, who may have been opted in before."""
        if self._policy.on_uncertain == "fail":
            raise SessionMError(
                f"{what}. Nothing was sent now. {ADVICE}", function=OPERATION, permanent=True, may_have_happened=True
            )
        self._progress.sending = count
        self._log.warning(
            "%s: %s; %s",
            *(OPERATION, what, "SessionM is asked first who takes part" if self._asks else "they are opted in again"),
        )

    # One stretch

    def _opt_in_a_stretch(self) -> None:
        progress = self._progress
        stretch = self._customers[progress.done : progress.done + STRETCH]
        progress.sending = max(len(stretch), self._doubt_ends - progress.done)
        self._record.save(progress)
        results: list[Result] = []
        refused = progress.refused
        try:
            for customer in stretch:
                results.append(self._result_of(customer, in_doubt=progress.done + len(results) < self._doubt_ends))
                refused += results[-1]["result"] == "refused"
                if refused >= self._policy.max_rejected:
                    break
        except RemoteSystemError as error:
            self._break_off(results, in_doubt=error.may_have_happened)
            error.add(f"{self._so_far()}, and nobody after")
            raise
        except BaseException:
            # The end of a task's time, for example.
            self._break_off(results, in_doubt=self._client.may_have_happened)
            raise
        self._take(results, in_doubt=False)
        self._record.save(progress)
        if progress.done < len(self._customers):
            self._say_how_far(now=False)

    def _break_off(self, results: Sequence[Result], *, in_doubt: bool) -> None:
        self._take(results, in_doubt=in_doubt)
        self._record.save_or_warn(self._progress, self._log)

    def _take(self, results: Sequence[Result], *, in_doubt: bool) -> None:
        """Write down what became of the next customers, and count it.

        :param in_doubt: whether the one after them may have been opted in.
        """
        if self._report is not None and results:
            self._report.add(results)
        progress = self._progress
        refused = Counter(result["code"] for result in results if result["result"] == "refused")
        progress.codes = dict(Counter(progress.codes) + refused)
        progress.refused += refused.total()
        progress.opted_in += len(results) - refused.total()
        progress.done += len(results)
        progress.sending = max(self._doubt_ends - progress.done, int(in_doubt))

    def _result_of(self, customer: Customer, *, in_doubt: bool) -> Result:
        """Opt a customer in.

        :param in_doubt: whether that may have been done before.
        """
        result = {"row": customer.row, self._kind: customer.id}
        if in_doubt and self._asks and self._takes_part(customer):
            self._found += 1
            return {**result, "result": "was_opted_in"}
        try:
            self._client.opt_in(self._campaign_id, **self._id_of(customer))
        except SessionMError as error:
            if error.may_have_happened:
                raise self._lost(customer, error) from error
            code = (error.code or "")[:LONGEST_CODE]
            passing = not (error.permanent or self._policy.last_try)
            if not error.refused or not code or passing or refused_as(error, *OF_ALL_CUSTOMERS):
                error.add(f"on the customer of row {customer.row:,}")
                raise
            self._refusals_told += 1
            if self._refusals_told <= MOST_PROBLEMS_SHOWN:
                self._log.warning("%s: the customer of row %s is refused: %s", OPERATION, f"{customer.row:,}", code)
            return {**result, "result": "refused", "code": code}
        return {**result, "result": "opted_in"}

    def _takes_part(self, customer: Customer) -> bool:
        """Ask whether a customer is in the campaign."""
        try:
            found = self._client.progress(campaign_id=self._campaign_id, **self._id_of(customer))
        except SessionMError as error:
            if refused_as(error, USER_NOT_FOUND):
                return False
            error.add(f"asked because the customer of row {customer.row:,} may be opted in. {ADVICE}")
            raise
        opted_in, state = str(found.get("opted_in")).lower(), str(found.get("state")).lower()
        if opted_in == "true" or (opted_in == "none" and state in TAKING_PART):
            return True
        if opted_in == "false" or state in NOT_TAKING_PART:
            return False
        raise SessionMError(
            f"the customer of row {customer.row:,} may be opted in, and SessionM's answer does not tell: state"
            f" {clipped(state)}. {ADVICE}",
            function=OPERATION,
            permanent=True,
            may_have_happened=True,
        )

    def _id_of(self, customer: Customer) -> dict[str, str]:
        return {self._kind: customer.id}

    # How it ends

    def _lost(self, customer: Customer, error: SessionMError) -> SessionMError:
        """The error of a call whose outcome is unknown: permanent only where the next try could not go on."""
        if self._record.remembers:
            asks, resends = "whether that customer takes part", "that customer"
        else:
            asks, resends = "who of all customers takes part", "all customers"
        goes_on = {
            "check": f"The next try asks first {asks}",
            "resend": f"The next try opts {resends} in again",
            "fail": ADVICE,
        }
        lost = SessionMError(
            error.message,
            function=error.function,
            status=error.status,
            permanent=self._policy.on_uncertain == "fail",
            may_have_happened=True,
        )
        lost.add(f"in doubt: the customer of row {customer.row:,}. {goes_on[self._policy.on_uncertain]}")
        return lost

    def _give_up(self, why: str = "") -> NoReturn:
        """End with customers who were refused."""
        progress = self._progress
        codes = ", ".join(f"{count:,} x {code}" for code, count in sorted(progress.codes.items()))
        if self._asks:
            cleared = "asks who takes part, and opts in the others"
        else:
            cleared = "does not opt them in again; give them to a new one"
        progress.gave_up = True
        self._record.save_or_warn(progress, self._log)
        raise SessionMError(
            f"{progress.refused:,} of {len(self._customers):,} customers were refused{why}: {codes}."
            f" {progress.opted_in:,} were opted in. Cleared, the task {cleared}",
            function=OPERATION,
            permanent=True,
        )

    def _described(self, count: int) -> str:
        """Some of the customers who come next, in words that find them in the input."""
        begin = self._progress.done
        first, last = self._customers[begin].row, self._customers[begin + count - 1].row
        return f"{count:,} customers, rows {first:,} to {last:,}" if count > 1 else f"the customer of row {first:,}"

    def _so_far(self) -> str:
        progress = self._progress
        refused = f" and {progress.refused:,} refused" if progress.refused else ""
        return f"{progress.opted_in:,} of {len(self._customers):,} customers were opted in{refused} before"

    def _say_how_far(self, *, now: bool = True) -> None:
        progress = self._progress
        pace = self._pace.after(progress.done, len(self._customers), now=now)
        if pace is not None:
            self._log.info(
                "%s: %s of %s customers done, %s refused, %s",
                *(OPERATION, f"{progress.done:,}", f"{len(self._customers):,}", f"{progress.refused:,}", pace),
            )


def refused_as(error: SessionMError, *codes: str) -> bool:
    """Whether SessionM refused a call for one of these reasons.

    :param error: what was raised.
    :param codes: the reasons; SessionM writes them in mixed case.
    """
    return error.refused and (error.code or "").lower() in {code.lower() for code in codes}
