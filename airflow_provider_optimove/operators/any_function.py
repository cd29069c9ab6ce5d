"""Any reading function of Optimove's by its name, for small answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_optimove.exceptions import OptimoveInputError
from airflow_provider_optimove.hooks.task_arguments import text_problems
from airflow_provider_optimove.operators.batched_write import LONGEST_RATE_LIMIT_WAIT
from airflow_provider_optimove.operators.rows_argument import count_of
from airflow_provider_optimove.storage.paths import shown_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_optimove.clients.optimove.functions import Function
    from airflow_provider_optimove.hooks.optimove import OptimoveHook

MOST_ROWS = 1_000
"""Rows that an XCom may hold: it lies in Airflow's database, and who may see the DAG may see it."""

# Also one that is still encoded: whatever follows it is hidden.
START_OF_QUERY = re.compile(r"([?#]|%(?:25)*(?:3f|23))", re.IGNORECASE)


class OptimoveFunctionOperator(BaseOperator):
    """Calls a reading function of Optimove's and returns its answer, with Optimove's field names, as XCom.

    For answers of at most 1,000 rows (``MOST_ROWS``); more are refused after one call that asks for one row beyond
    that, where the function pages. OptimoveToObjectStorageOperator writes any number of rows to a file. Secrets of the
    connection are replaced by ``***``, as are user-info and the query's values in the URLs of event listeners, which
    are returned percent-decoded.

    :param function: Optimove's name of a function that only reads, in any letter case.
    :param parameters: values by Optimove's names, in any letter case; also ``$top`` and ``$skip`` of a paged function,
        to get a single page.
    :param optimove_conn_id: the connection.
    :returns: (XCom) a list of rows or one object; an empty list or None where Optimove has no data.
    :raises OptimoveInputError: the function writes, the parameters are not valid, or there are more rows.
    :raises OptimoveUnknownFunctionError: there is no function of that name.
    """

    template_fields: Sequence[str] = ("optimove_conn_id", "function", "parameters")
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json"}
    ui_color = "#e3f2fd"

    def __init__(
        self,
        *,
        function: str,
        parameters: Mapping[str, Any] | str | None = None,
        optimove_conn_id: str = "optimove_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.function = function
        self.parameters: Any = parameters
        self.optimove_conn_id = optimove_conn_id

    @cached_property
    def hook(self) -> OptimoveHook:
        """The hook of the connection."""
        from airflow_provider_optimove.hooks.optimove import OptimoveHook

        return OptimoveHook(self.optimove_conn_id, longest_wait=LONGEST_RATE_LIMIT_WAIT)

    def execute(self, context: Context) -> Any:
        """Check the arguments and call the function."""
        from airflow_provider_optimove.clients.optimove.arguments import bind, find_function
        from airflow_provider_optimove.hooks.task_errors import permanent_errors_end_the_task

        with permanent_errors_end_the_task():
            declared = find_function(self.function)
            if not declared.reads:
                raise OptimoveInputError(_instead_of_writing(declared.name), function=declared.name)
            if problems := list(text_problems(declared, self.parameters)):
                raise OptimoveInputError("the arguments are not valid", function=declared.name, problems=problems)
            bound = bind(declared, self.parameters)
            calls_before = self.hook.client.calls_made
            answer = self._answer(declared, bound)
        calls = self.hook.client.calls_made - calls_before
        self.log.info("%s: %s, %s", declared.name, _size_of(answer), "1 call" if calls == 1 else f"{calls:,} calls")
        return self._without_secrets(declared, answer)

    def _answer(self, declared: Function, bound: Mapping[str, Any]) -> Any:
        from airflow_provider_optimove.clients.optimove.arguments import PAGE_PARAMETERS

        enough = MOST_ROWS + 1
        if declared.paged and not any(name in bound for name in PAGE_PARAMETERS):
            answer = list(islice(self.hook.rows(declared.name, bound, page_size=enough), enough))
        else:
            top = {"$top": min(enough, bound.get("$top", enough))} if declared.paged else {}
            answer = self.hook.call(declared.name, {**bound, **top})
        if declared.answer == "rows" and len(answer) > MOST_ROWS:
            raise OptimoveInputError(
                f"more than {MOST_ROWS:,} rows, which is too much for an XCom; write them to a file with"
                " OptimoveToObjectStorageOperator of airflow_provider_optimove.transfers.optimove_to_object_storage",
                function=declared.name,
            )
        return answer

    def _without_secrets(self, declared: Function, answer: Any) -> Any:
        redact = self.hook.client.redact
        for row in answer if declared.tells_secrets else ():
            urls = {name: url for name, url in row.items() if name.lower().endswith("url") and isinstance(url, str)}
            row.update((name, _shown_url(url, redact)) for name, url in urls.items())
        return _with_texts(redact, answer)


def _instead_of_writing(name: str) -> str:
    """What to use for a function that is no reading one."""
    from airflow_provider_optimove.clients.optimove.protocol import LOGIN
    from airflow_provider_optimove.operators import optimove

    if name == LOGIN:
        return "gives a token, which is a secret; the hook itself logs in where it has to"
    operator = next(member for member in vars(optimove).values() if getattr(member, "function", None) == name)
    return f"writes, and this operator only reads; use {operator.__name__}"


def _size_of(answer: Any) -> str:
    if answer in (None, []):
        return "no data"
    return count_of(len(answer)) if isinstance(answer, list) else "an object"


def _with_texts(change: Callable[[str], str], value: Any) -> Any:
    """A JSON value with its texts changed; the names of fields stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_with_texts(change, item) for item in value]
    if isinstance(value, dict):
        return {name: _with_texts(change, item) for name, item in value.items()}
    return value


def _shown_url(url: str, redact: Callable[[str], str]) -> str:
    """A listener's URL, percent-encoded or not, without user-info and the values of its query."""
    # No further than to the URL itself: what was encoded in a value could then look like a name.
    while "://" not in url and (decoded := unquote(url)) != url:
        url = decoded
    # Here, for cut into names and values a secret would not be recognised.
    address, *query = START_OF_QUERY.split(redact(url), maxsplit=1)
    if not query:
        return shown_path(address)
    mark, pairs = query
    return f"{shown_path(address)}{mark}{'&'.join(map(_without_value, pairs.split('&')))}"


def _without_value(pair: str) -> str:
    name, _, value = pair.partition("=")
    # Only "=" behind it: it is no name, but may be a token in base64.
    return f"{name}=***" if value.strip("=") else "***"
