"""What all operators of a write function share: rows in, checked, sent in batches, counts out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.hooks.task_arguments import check_choices
from airflow_provider_optimove.operators.remembered_write import RememberedWriteOperator
from airflow_provider_optimove.operators.rows_argument import check_paths, count_of, stretches_of
from airflow_provider_optimove.storage.paths import shown_path
from airflow_provider_optimove.storage.row_report import RowReport

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_optimove.clients.calls import Fetched
    from airflow_provider_optimove.clients.optimove.batching import Batch, Plan
    from airflow_provider_optimove.clients.optimove.bulk_write import BulkWrite, Outcome, RejectedRow
    from airflow_provider_optimove.clients.optimove.functions import Function, Parameter
    from airflow_provider_optimove.clients.optimove.rows import Grouping, RowChecker, Stretch
    from airflow_provider_optimove.hooks.optimove import OptimoveHook

LONGEST_RATE_LIMIT_WAIT = 300
"""Seconds that a batch waits for the rate limit before the task gives its worker back."""

JOURNAL_KEY = "optimove_write"
"""Under what name the progress is in Airflow's task state."""


class OptimoveBatchedWriteOperator(RememberedWriteOperator):
    """Base of the operators that send rows with one write function.

    All rows are checked before the first batch leaves. On Airflow 3.3 and later the task remembers what Optimove
    confirmed: a retry, also after its worker was killed, goes on from there. Rows that were on their way at that
    moment are in doubt: a function that may count twice what it gets twice does not send them again by itself.

    :param optimove_conn_id: the connection.
    :param batch_size: rows a call; None for the documented maximum.
    :param durable: remember between tries what was confirmed.
    :param on_uncertain: whether a function that is not harmless to repeat stops (``fail``) at rows that may or may not
        have arrived, or sends them again (``resend``).
    :param on_rejected: whether a batch that Optimove refuses ends the task (``fail``), or its bad rows are found and
        the others delivered (``isolate``).
    :param rejected_path: file for the bad rows, as JSON Lines with ``row`` (number), ``explanation`` and ``data``;
        needed to isolate.
    :param fail_on_rejected: whether the task fails at the end when rows were rejected.
    :param max_rejected: bad rows at which it stops: then the arguments are wrong rather than the rows.
    :param object_storage_conn_id: connection of the object storage, where paths need one.
    """

    function: ClassVar[str]
    template_fields: Sequence[str] = ("optimove_conn_id", "rejected_path", "object_storage_conn_id")

    def __init__(
        self,
        *,
        optimove_conn_id: str = "optimove_default",
        batch_size: int | None = None,
        durable: bool = True,
        on_uncertain: Literal["fail", "resend"] = "fail",
        on_rejected: Literal["fail", "isolate"] = "fail",
        rejected_path: str | None = None,
        fail_on_rejected: bool = True,
        max_rejected: int = 100,
        object_storage_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choices(
            self.function,
            on_uncertain=(on_uncertain, ("fail", "resend")),
            on_rejected=(on_rejected, ("fail", "isolate")),
            max_rejected=(max_rejected, range(1, sys.maxsize)),
        )
        self.optimove_conn_id = optimove_conn_id
        self.batch_size = batch_size
        self.durable = durable
        self.on_uncertain = on_uncertain
        self.on_rejected = on_rejected
        self.rejected_path = rejected_path
        self.fail_on_rejected = fail_on_rejected
        self.max_rejected = max_rejected
        self.object_storage_conn_id = object_storage_conn_id

    @cached_property
    def hook(self) -> OptimoveHook:
        """The hook of the connection."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        return OptimoveHook(self.optimove_conn_id, longest_wait=LONGEST_RATE_LIMIT_WAIT)

    def rows_field(self) -> str:
        """The argument that holds the rows."""
        return self.declared.rows or ""

    def fields_of_rows(self) -> Mapping[str, Parameter]:
        """The parameters that each row brings itself, by Optimove's names; the others are arguments of the task."""
        return {}

    def defaults(self) -> Mapping[str, Any]:
        """What stands for arguments that were not given, where it is another at each try."""
        return {}

    def answered(self, fetched: Fetched) -> int:
        """Look at Optimove's answer to a call; returns how many rows it names as failed."""
        return 0

    def start_reports(self, failed: int) -> None:
        """Get ready for the answers, after so many failed rows in earlier tries."""

    def summary_of_answers(self, outcome: Outcome) -> Mapping[str, Any]:
        """What the answers add to the summary."""
        return {}

    @cached_property
    def declared(self) -> Function:
        """The declaration of the function."""
        from airflow_provider_optimove.clients.optimove.arguments import find_function

        return find_function(self.function)

    def write(self, context: Context) -> tuple[dict[str, Any], Callable[[], None]]:
        """Check the rows and send them."""
        from airflow_provider_optimove.clients.optimove.batching import batch_size_of, plan_batches

        if self.on_rejected == "isolate" and not self.rejected_path:
            raise self.not_valid("rejected_path: needed with on_rejected='isolate'; the bad rows are written there")
        size = batch_size_of(self.declared, self.batch_size)
        arguments = self._arguments()
        source = self._source()
        paths = (self.rows_field(), "rejected_path", "failed_path")
        check_paths({field: getattr(self, field, None) for field in paths}, function=self.function)
        reports = _Reports(self)
        check = self._check(arguments)
        with plan_batches(self.declared, source, check, size, source=self.rows_field()) as plan:
            batches = "1 batch" if len(plan) == 1 else f"{len(plan):,} batches"
            self.log.info("%s: %s in %s of at most %s", self.function, count_of(plan.rows), batches, f"{size:,}")
            if not plan.rows:
                self.log.warning("%s: %s holds no rows; nothing is sent", self.function, self.rows_field())
            calls_before = self.hook.client.calls_made
            write = self._bulk_write(context, plan, arguments, reports, partial(self._numbers, source, check))
            outcome = write.run()
        summary = {
            "function": self.function,
            "rows": outcome.accepted,
            "batches": len(plan),
            "calls": self.hook.client.calls_made - calls_before,
            "rejected": outcome.rejected,
            "resumed_rows": outcome.resumed,
            **self.summary_of_answers(outcome),
        }
        if outcome.rejected:
            self._rejected_at_the_end(write, outcome)
        return summary, write.finish

    def _bulk_write(
        self,
        context: Context,
        plan: Plan,
        arguments: Mapping[str, Any],
        reports: _Reports,
        row_numbers: Callable[[Batch], Sequence[int] | None],
    ) -> BulkWrite:
        from airflow_provider_optimove.clients.optimove.arguments import bind
        from airflow_provider_optimove.clients.optimove.bulk_write import BulkWrite, WritePolicy
        from airflow_provider_optimove.operators.task_journal import is_retry

        defaults = {name: value for name, value in self.defaults().items() if getattr(self, name) is None}
        return BulkWrite(
            self.hook.client,
            plan,
            {**arguments, **bind(self.declared, keywords=defaults, later=self.declared.parameters)},
            fingerprint=plan.fingerprint({"account": self.hook.client.account, **arguments}),
            journal=self.journal_of(context, JOURNAL_KEY),
            reports=reports,
            policy=WritePolicy(
                resend=self.on_uncertain == "resend",
                isolate=self.on_rejected == "isolate",
                max_rejected=self.max_rejected,
                durable=self.durable,
                earlier_tries=is_retry(context),
            ),
            row_numbers=row_numbers,
            log=self.log,
        )

    def _arguments(self) -> dict[str, Any]:
        """The arguments of all calls, checked."""
        from airflow_provider_optimove.clients.optimove.arguments import bind

        own = self.declared.parameters_beside_rows
        given = {p.python_name: getattr(self, p.python_name, None) for p in own}
        by_default = {p.name for p in own if p.python_name in self.defaults()}
        with_rows = {p.name for p in self.declared.own_parameters if p not in own} | set(self.fields_of_rows())
        return bind(self.declared, keywords=given, later=with_rows | by_default)

    def _check(self, arguments: Mapping[str, Any]) -> RowChecker | Grouping:
        from airflow_provider_optimove.clients.optimove.rows import Grouping, RowChecker, row_shape

        shape = row_shape(self.declared)
        if shared := self.fields_of_rows():
            (value,) = shape.fields.values()
            return Grouping(value, shared, elsewhere=set(arguments))
        return RowChecker(shape)

    def _source(self) -> Iterable[Stretch]:
        field = self.rows_field()
        return stretches_of(field, getattr(self, field), function=self.function, conn_id=self.object_storage_conn_id)

    def not_valid(self, problem: str) -> OptimoveInputError:
        """An error about the arguments."""
        return OptimoveInputError("the arguments are not valid", function=self.function, problems=[problem])

    def _numbers(self, source: Iterable[Stretch], check: RowChecker | Grouping, batch: Batch) -> Sequence[int] | None:
        from airflow_provider_optimove.clients.optimove.batching import row_numbers

        try:
            return row_numbers(batch, source, check)
        except Exception as error:
            # They only help to find the rows; what they are asked for matters more.
            self.log.warning("%s: the numbers of the rows are not known: %s", self.function, error)
            return None

    def _rejected_at_the_end(self, write: BulkWrite, outcome: Outcome) -> None:
        from airflow_provider_optimove.exceptions import OptimoveRejectedRowsError

        place = f", written to {shown_path(str(self.rejected_path))}" if self.rejected_path else ""
        said = f"{count_of(outcome.rejected)} rejected{place}"
        if not self.fail_on_rejected:
            self.log.warning("%s: %s", self.function, said)
            return
        again = "Cleared, the task sends all rows again"
        if self.declared.repeatable:
            write.forget()
        else:
            again = "Cleared, the task does not send them again; give the mended rows to a new one"
        raise OptimoveRejectedRowsError(
            f"{said}; the other {outcome.accepted:,} were accepted. {again}", function=self.function
        )


class _Reports:
    """Passes on what becomes of rows: to the file of rejected ones, and to the operator."""

    def __init__(self, operator: OptimoveBatchedWriteOperator) -> None:
        self._operator = operator
        self._rejected: RowReport | None = None
        if operator.on_rejected == "isolate" and operator.rejected_path:
            self._rejected = RowReport(operator.rejected_path, operator.object_storage_conn_id)

    def start(self, rejected: int, failed: int) -> None:
        if self._rejected is not None:
            self._rejected.start(rejected)
        self._operator.start_reports(failed)

    def rejected(self, row: RejectedRow) -> None:
        import msgspec

        from airflow_provider_optimove.clients.optimove.rows import row_shape

        if self._rejected is not None:
            data = msgspec.json.decode(row.row)
            if row.shared:
                data = {str(row_shape(self._operator.declared).sole): data, **row.shared}
            self._rejected.add([{"row": row.number, "explanation": row.explanation, "data": data}])

    def answered(self, fetched: Fetched) -> int:
        return self._operator.answered(fetched)
