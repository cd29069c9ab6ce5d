"""What all operators of a write function share: rows in, checked, sent in batches, counts out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_optimove.hooks.optimove import OptimoveHook


class RowsValue(Sequence[Any]):
    """A list of rows as the value of an operator's field: Airflow leaves it as it is and shows the count."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def __repr__(self) -> str:
        return f"{len(self):,} row{'' if len(self) == 1 else 's'}"

    def serialize(self) -> str:
        """What Airflow shows of the field."""
        return repr(self)


class RowsField:
    """A template field that holds rows. Templates in text are rendered, the texts inside of rows are not."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        try:
            return instance.__dict__[self._name]
        except KeyError:
            raise AttributeError(self._name) from None

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self._name] = RowsValue(value) if isinstance(value, (list, tuple)) else value


class OptimoveBatchedWriteOperator(BaseOperator):
    """Base of the operators that send rows with one write function.

    All rows are checked before the first batch leaves.

    :param optimove_conn_id: the connection.
    :param batch_size: rows a call; None for the documented maximum.
    :returns: ``{"function", "rows", "batches", "calls", "rejected", "resumed_rows"}``.
    """

    function: ClassVar[str]
    template_fields: Sequence[str] = ("optimove_conn_id",)
    ui_color = "#e3f2fd"

    def __init__(
        self, *, optimove_conn_id: str = "optimove_default", batch_size: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.optimove_conn_id = optimove_conn_id
        self.batch_size = batch_size

    @cached_property
    def hook(self) -> OptimoveHook:
        """The hook of the connection."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        return OptimoveHook(self.optimove_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the rows and send them."""
        from airflow_provider_optimove.hooks.task_errors import permanent_errors_end_the_task

        with permanent_errors_end_the_task():
            return self._send()

    def _send(self) -> dict[str, Any]:
        from airflow_provider_optimove.clients.optimove.arguments import checked_rows, find_function
        from airflow_provider_optimove.clients.optimove.batching import batch_size_of, batches
        from airflow_provider_optimove.exceptions import OptimoveError

        function = find_function(self.function)
        fields = {parameter.python_name for parameter in function.own_parameters}
        arguments = {name: getattr(self, name) for name in fields - {function.rows}}
        size = batch_size_of(function, self.batch_size)
        rows = checked_rows(function, self._rows(function.rows or ""))
        total = len(rows)
        self.log.info("%s: %s in batches of at most %s", function.name, RowsValue(rows), f"{size:,}")
        sent = batch_count = 0
        calls_before = self.hook.client.calls_made
        for batch in batches(rows, size):
            try:
                self.hook.call(function.name, {**arguments, str(function.rows): batch})
            except OptimoveError:
                self.log.error(
                    "%s failed on rows %d to %d of %d: the %d before them were accepted, those after them not sent",
                    *(function.name, sent + 1, sent + len(batch), total, sent),
                )
                raise
            sent += len(batch)
            batch_count += 1
            self.log.info("%s: %s of %s rows sent", function.name, f"{sent:,}", f"{total:,}")
        return {
            "function": function.name,
            "rows": sent,
            "batches": batch_count,
            "calls": self.hook.client.calls_made - calls_before,
            "rejected": total - sent,
            "resumed_rows": 0,
        }

    def _rows(self, field: str) -> Sequence[Any]:
        from airflow_provider_optimove.exceptions import OptimoveInputError

        value = getattr(self, field)
        if isinstance(value, str):
            problem = (
                f"{field}: expected a list of rows, got text. Pass the list or the upstream task's output; where a"
                " template gives the rows, set render_template_as_native_obj=True on the DAG"
            )
        elif isinstance(value, Sequence) and not isinstance(value, bytes):
            return value
        else:
            problem = f"{field}: expected a list of rows, got {type(value).__name__}"
            if isinstance(value, Mapping):
                problem += "; in expand(), too, each task takes a list"
        raise OptimoveInputError("the arguments are not valid", function=self.function, problems=[problem])
