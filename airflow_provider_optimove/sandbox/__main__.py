"""``python -m airflow_provider_optimove.sandbox``: serve an Optimove on localhost until Ctrl-C."""

from __future__ import annotations

import argparse
import datetime
import shlex
import signal
import threading
import time

from airflow_provider_optimove.sandbox.limits import RateLimit
from airflow_provider_optimove.sandbox.server import DEFAULT_KEY, DEFAULT_USER, OptimoveSandbox

HIGHEST_PORT = 65_535


def _date(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date; expected YYYY-MM-DD") from None


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; expected 0 to {HIGHEST_PORT}")
    return int(text)


def _rate_limit(text: str) -> str:
    try:
        RateLimit(text, time.monotonic)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no limit; expected calls/seconds, such as 50/10") from None
    return text


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_optimove.sandbox", description="An Optimove on localhost."
    )
    parser.add_argument(
        "--port", type=_port, default=8099, help="port on 127.0.0.1; 0 takes a free one (default: 8099)"
    )
    parser.add_argument("--customers", type=int, default=1000, help="how many customers there are (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another account (default: 0)")
    parser.add_argument("--api-key", default=DEFAULT_KEY, help="the key it accepts (default: %(default)s)")
    parser.add_argument("--login", default=DEFAULT_USER, help="the user name it accepts (default: %(default)s)")
    parser.add_argument("--password", default=DEFAULT_USER, help="that user's password (default: %(default)s)")
    parser.add_argument(
        "--last-data-update",
        type=_date,
        metavar="YYYY-MM-DD",
        help="date of the newest data (default: yesterday, UTC)",
    )
    parser.add_argument(
        "--rate-limit", default="", type=_rate_limit, help="calls/seconds, e.g. 50/10,2000/3600 (default: none)"
    )
    parser.add_argument("--drift", action="store_true", help="ids as strings, and other spellings of keys")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    options = _arguments(arguments)
    sandbox = OptimoveSandbox(
        port=options.port,
        customers=options.customers,
        seed=options.seed,
        api_key=options.api_key,
        login=options.login,
        password=options.password,
        last_data_update=options.last_data_update,
    )
    sandbox.rate_limit = options.rate_limit
    sandbox.drift = options.drift
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        sandbox.start()
    except OSError as error:
        raise SystemExit(f"port {options.port} cannot be used: {error.strerror}; choose another with --port") from None
    try:
        print(
            f"Optimove sandbox on {sandbox.url}: {options.customers} customers,"
            f" data up to {sandbox.last_data_update}\n"
            "\n"
            "Airflow connection, for the shell:\n"
            f"  export AIRFLOW_CONN_OPTIMOVE_DEFAULT={shlex.quote(sandbox.connection)}\n"
            "with user name and password instead of the key:\n"
            f"  export AIRFLOW_CONN_OPTIMOVE_DEFAULT={shlex.quote(sandbox.login_connection)}\n"
            "\n"
            "or in the form (Admin > Connections):\n"
            "  Connection Id    optimove_default\n"
            "  Connection Type  Optimove\n"
            f"  API server       {sandbox.url}\n"
            f"  API key          {sandbox.api_key}\n"
            "\n"
            "Ctrl-C stops it.",
            flush=True,
        )
        stopping.wait()
    finally:
        sandbox.stop()


if __name__ == "__main__":
    main()
