"""``python -m airflow_provider_optimove.sandbox``: serve an Optimove on localhost until Ctrl-C; with ``--all`` also the
systems beside it.

With ``fire`` and the number of an event: have the one that is running post an event to its listeners. With ``data``
and a date: let it have the data of that day.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any

from airflow_provider_optimove.sandbox.limits import RateLimit
from airflow_provider_optimove.sandbox.server import DATA_PATH, DEFAULT_KEY, DEFAULT_USER, FIRE_PATH, OptimoveSandbox
from airflow_provider_optimove.sandbox.serving import HOST, StandIn
from airflow_provider_optimove.sandbox.systems import SYSTEMS, systems_after

PROGRAM = "python -m airflow_provider_optimove.sandbox"
DEFAULT_PORT = 8099
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


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="An Optimove on localhost.",
        epilog=f"`{PROGRAM} fire 13 --campaign 6577 --channel 504 --times 2`: have the one that is running post an"
        " event to its listeners.",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        help="port on 127.0.0.1; 0 takes a free one (default: %(default)s)",
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
    parser.add_argument(
        "--all", action="store_true", help=f"serve {', '.join(SYSTEMS)} as well, on the ports after Optimove's"
    )
    options = parser.parse_args(arguments)
    if options.all and options.port + len(SYSTEMS) > HIGHEST_PORT:
        parser.error(f"--port {options.port}: there are no {len(SYSTEMS)} ports after it")
    return options


def fire(arguments: list[str]) -> int:
    """Have a running sandbox post an event; a line a delivery.

    :returns: 0 when every listener answered 200, and there was one; else 1.
    """
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} fire", description="Have the sandbox that is running post an event to its listeners."
    )
    parser.add_argument("event_type", type=int, help="its number, e.g. 13: a campaign was executed on a channel")
    parser.add_argument("--campaign", type=int, help="the campaign (default: the newest one that the event fits)")
    parser.add_argument("--channel", type=int, help="the channel (default: one of the campaign's)")
    parser.add_argument("--times", type=int, default=1, help="how often each listener gets it (default: 1)")
    _add_where(parser)
    options = parser.parse_args(arguments)
    event = {
        "event_type": options.event_type,
        "campaign_id": options.campaign,
        "channel_id": options.channel,
        "times": options.times,
    }
    deliveries = _tell(FIRE_PATH, event, options)
    if not deliveries:
        print(f"no listener is registered for event {options.event_type}")
    for delivery in deliveries:
        status = "no answer:" if delivery["status"] is None else delivery["status"]
        print("{event_type} {url}: {} {answer}, {seconds:.3f} s".format(status, **delivery))
    return 0 if deliveries and all(delivery["status"] == HTTPStatus.OK for delivery in deliveries) else 1


def data(arguments: list[str]) -> int:
    """Let a running sandbox have the data of a day.

    :returns: 0.
    """
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} data", description="Let the sandbox that is running have the data of a day."
    )
    parser.add_argument("date", type=_date, metavar="YYYY-MM-DD", help="date of the newest data")
    _add_where(parser)
    options = parser.parse_args(arguments)
    _tell(DATA_PATH, {"date": options.date.isoformat()}, options)
    return 0


def _add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help="the sandbox's (default: %(default)s)")
    parser.add_argument("--api-key", default=DEFAULT_KEY, help="the key it accepts (default: %(default)s)")


def _tell(path: str, what: Mapping[str, Any], options: argparse.Namespace) -> Any:
    """What the sandbox that is running answers."""
    connection = HTTPConnection(HOST, options.port)
    try:
        connection.request("POST", path, json.dumps(what), {"X-API-KEY": options.api_key})
        response = connection.getresponse()
        text = response.read().decode()
    except (OSError, HTTPException) as error:
        raise SystemExit(f"no sandbox on port {options.port} ({error}); name its port with --port") from None
    finally:
        connection.close()
    if response.status != HTTPStatus.OK:
        raise SystemExit(text)
    return json.loads(text)


def _export(stand_in: StandIn[Any], connection: str | None = None) -> str:
    """The line that sets a connection in a shell.

    :param connection: another one than the stand-in's usual one.
    """
    return f"  export AIRFLOW_CONN_{stand_in.connection_id.upper()}={shlex.quote(connection or stand_in.connection)}\n"


def main(arguments: list[str]) -> int:
    """Serve until Ctrl-C or SIGTERM; with ``fire`` see :func:`fire`, with ``data`` see :func:`data`.

    :param arguments: those of the command line, without the program's name.
    :returns: the exit code.
    """
    for command in (fire, data):
        if arguments[:1] == [command.__name__]:
            return command(arguments[1:])
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
    systems = systems_after(options.port) if options.all else {}
    stand_ins: list[StandIn[Any]] = [sandbox, *systems.values()]
    with ExitStack() as running:
        for stand_in in stand_ins:
            try:
                running.enter_context(stand_in)
            except OSError as error:
                message = f"port {stand_in.port} cannot be used: {error.strerror}; choose another with --port"
                raise SystemExit(message) from None
        print(
            f"Optimove sandbox on {sandbox.url}: {options.customers} customers,"
            f" data up to {sandbox.last_data_update}\n"
            "\n"
            "Airflow connection, for the shell:\n"
            f"{_export(sandbox)}"
            "with user name and password instead of the key:\n"
            f"{_export(sandbox, sandbox.login_connection)}"
            "\n"
            "or in the form (Admin > Connections):\n"
            "  Connection Id    optimove_default\n"
            "  Connection Type  Optimove\n"
            f"  API server       {sandbox.url}\n"
            f"  API key          {sandbox.api_key}\n"
            "\n"
            + "".join(f"{name} sandbox on {stand_in.url}:\n{_export(stand_in)}\n" for name, stand_in in systems.items())
            + "Ctrl-C stops it.",
            flush=True,
        )
        stopping.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
