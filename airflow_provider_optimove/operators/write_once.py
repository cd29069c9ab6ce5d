"""A single write that must not happen twice over the tries of a task.

Before it is sent, the journal says so, and when the answer is there, what it was. Whoever comes after a crash reads
there whether to send, to return what was answered, or that the write is in doubt: it was on its way, and nobody knows
whether it arrived.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from airflow_provider_optimove.clients.long_writes import Record, UnknownProgressError
from airflow_provider_optimove.exceptions import RemoteSystemError, SystemBesideError

if TYPE_CHECKING:
    from airflow_provider_optimove.clients.answers import Operation
    from airflow_provider_optimove.clients.long_writes import Journal, Log

Answer = dict[str, Any]
IF_ARRIVED = "mark the task as success"


class WriteState(msgspec.Struct, kw_only=True):
    """What the journal keeps. Neither personal data nor secrets are in it.

    :param fingerprint: which write it is about.
    :param state: whether it is on its way, was answered, or surely did not happen.
    :param answer: what the task needs of the answer.
    """

    fingerprint: str
    state: Literal["sending", "sent", "failed"] = "sending"
    answer: Answer = {}


class WriteOnce:
    """Sends a write unless an earlier try of the task did.

    :meth:`finish` is the last that the task does, behind its asset events: whatever fails before, a retry finds that
    the write was sent.

    :param operation: what is sent.
    :param error: the class of the system's errors.
    :param look_at: what shows whether a write in doubt arrived, behind "Look at", e.g. ``the campaigns in SessionM``.
    :param fingerprint: what tells this write from any other; of :func:`fingerprint_of`.
    :param journal: keeps the state; None where nothing can be kept.
    :param durable: whether to go by what an earlier try left.
    :param resend: whether to send a write in doubt once more.
    :param earlier_tries: whether this task has been tried before.
    :param log: the task's.
    :param if_arrived: what to do where a write in doubt is found to have arrived.
    """

    def __init__(
        self,
        operation: Operation,
        *,
        error: type[SystemBesideError],
        look_at: str,
        fingerprint: str,
        journal: Journal | None,
        durable: bool,
        resend: bool,
        earlier_tries: bool,
        log: Log,
        if_arrived: str = IF_ARRIVED,
    ) -> None:
        self._operation = operation
        self._name = operation.name
        self._error = error
        self._look_at = look_at
        self._state = WriteState(fingerprint=fingerprint)
        self._record = Record(journal, durable=durable, failed=self._not_recorded, so_far=self._so_far)
        self._resend = resend
        self._earlier_tries = earlier_tries
        self._log = log
        self._if_arrived = if_arrived

    def run(self, send: Callable[[], Answer], check: Callable[[], Answer | None] | None = None) -> Answer:
        """Send it.

        :param send: sends; returns what the task needs of the answer, as plain JSON without personal data and secrets.
        :param check: asks the system whether a write in doubt happened. Returns what ``send`` would have returned, or
            None: it surely did not. Doubts are then settled by the next try.
        :returns: what ``send`` or ``check`` returned, now or in an earlier try.
        :raises SystemBesideError: the write is in doubt; or the state could not be kept.
        :raises RemoteSystemError: what ``send`` or ``check`` raised.
        """
        try:
            earlier = self._record.load(WriteState)
            doubt = self._doubt_about(earlier)
        except UnknownProgressError:
            earlier = None
            doubt = "what the earlier try sent was not recorded, or not in a form that is known"
        same = earlier is None or earlier.fingerprint == self._state.fingerprint
        if earlier is not None and earlier.state == "sent" and same:
            self._state = earlier
            self._log.info("%s: an earlier try sent it, so nothing is sent now", self._name)
            return earlier.answer
        if doubt and check and same:
            found = check()
            self._log.info(
                "%s: %s; %s says that it did%s", *(self._name, doubt, self._operation.system, " not" * (found is None))
            )
            if found is not None:
                return self._sent(found)
            doubt = None
        if doubt and not self._resend:
            raise self._error(
                f"{doubt}. Nothing was sent now: a second {self._name} may {self._operation.twice}. {self._advice()}",
                function=self._name,
                permanent=True,
                may_have_happened=True,
            )
        if doubt:
            self._log.warning("%s: %s; sending it again", self._name, doubt)
        self._record.mark()
        self._record.save(self._state)
        try:
            answer = send()
        except RemoteSystemError as error:
            if error.may_have_happened and check:
                raise self._to_be_tried_again(error) from None
            if error.may_have_happened:
                error.add(self._advice())
            elif not doubt:
                self._state.state = "failed"
                self._record.save_or_warn(self._state, self._log)
            raise
        return self._sent(answer)

    def finish(self) -> None:
        """Note that it is done; the last thing that a task does. Cleared, it sends the write again."""
        self._record.finish()

    def _doubt_about(self, earlier: WriteState | None) -> str | None:
        """Why the write may have happened in an earlier try that left this, if it may."""
        if earlier is None:
            if self._record.remembers or not self._earlier_tries:
                return None
            return (
                "this is not the first try, and nothing tells what the earlier ones sent (Airflow keeps that from 3.3"
                " on, with durable=True)"
            )
        if earlier.state == "failed":
            return None
        if earlier.fingerprint != self._state.fingerprint:
            done = "may have been sent" if earlier.state == "sending" else "was sent"
            return (
                "the arguments are not those of the earlier try, or the connection's account is another; what that try"
                f" was for {done}"
            )
        return "the earlier try ended while it sent; nobody knows whether it arrived"

    def _to_be_tried_again(self, error: RemoteSystemError) -> SystemBesideError:
        again = self._error(error.message)
        again.__dict__.update(error.__dict__, permanent=False)
        again.add(f"the next try asks {self._operation.system} first whether it happened")
        return again

    def _advice(self) -> str:
        return (
            f"Look at {self._look_at} to see whether it arrived. If it did not, clear the task with"
            f" on_uncertain='resend' to send it again; if it did, {self._if_arrived}"
        )

    def _sent(self, answer: Answer) -> Answer:
        self._state.state, self._state.answer = "sent", answer
        self._record.save(self._state)
        return answer

    def _not_recorded(self, message: str) -> SystemBesideError:
        return self._error(message, function=self._name, may_have_happened=self._state.state == "sent")

    def _so_far(self) -> str:
        return "it was sent" if self._state.state == "sent" else "nothing was sent"


def fingerprint_of(operation: Operation, facts: Mapping[str, Any]) -> str:
    """What tells a write from any other: a digest of the operation and of all that is sent with it, and where to.

    :param operation: what is sent.
    :param facts: the account and the arguments, as plain JSON; dates and times may be among it.
    """
    return hashlib.sha256(msgspec.json.encode([operation.name, facts], order="sorted")).hexdigest()
