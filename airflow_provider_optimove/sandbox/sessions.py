"""Who may call: the API key, and the tokens of the older Login."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable

from airflow_provider_optimove.sandbox.serving import Refused

EXPIRED = "Authorization-Token expired"


class Sessions:
    """Tokens and their ages, in seconds of a clock. These switches may be set at any time:

    * ``token_lifetime``: seconds from a token's last use
    * ``needless_logins_allowed``: so many Logins succeed while a token is valid; the next ones are answered with 429
    * ``login_interval``: seconds between two Logins; an earlier one is answered with 429
    * ``second_login_kills_token``: whether a new token makes the older ones unknown
    * ``refused_login_status``: what wrong credentials are answered with, 401 or 500

    :param clock: what tells the seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.token_lifetime = 20 * 60.0
        self.needless_logins_allowed = 3
        self.login_interval = 1.0
        self.second_login_kills_token = False
        self.refused_login_status = 401
        self.logins = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._last_use: dict[str, float] = {}
        self._expired: set[str] = set()
        self._last_login: float | None = None
        self._needless_logins = 0

    def login(self, accepted: bool) -> str:
        """A new token.

        :param accepted: whether user name and password are right.
        :raises Refused: wrong credentials, or a Login too many.
        """
        with self._lock:
            now = self._clock()
            if self._last_login is not None and now - self._last_login < self.login_interval:
                raise Refused("Too Many Requests: one Login a second", 429)
            self._last_login = now
            if not accepted:
                raise Refused("Invalid user name or password", self.refused_login_status)
            self._retire(now)
            if not self._last_use:
                self._needless_logins = 0
            elif self._needless_logins >= self.needless_logins_allowed:
                raise Refused("User Already Logged In", 429)
            else:
                self._needless_logins += 1
            if self.second_login_kills_token:
                self._last_use.clear()
            token = secrets.token_urlsafe(24)
            self._last_use[token] = now
            self.logins += 1
            return token

    def check_token(self, token: str) -> None:
        """Count a use of a token.

        :raises Refused: 401 for an unknown token, 403 for an expired one.
        """
        with self._lock:
            now = self._clock()
            self._retire(now)
            if token in self._expired:
                raise Refused(EXPIRED, 403, reason=EXPIRED)
            if token not in self._last_use:
                raise Refused("Unauthorized: the Authorization-Token is not valid", 401)
            self._last_use[token] = now

    def expire(self, token: str | None = None) -> None:
        """Expire a token, or all of them."""
        with self._lock:
            gone = set(self._last_use) if token is None else {token} & set(self._last_use)
            self._expired |= gone
            for expired in gone:
                del self._last_use[expired]

    def _retire(self, now: float) -> None:
        for token, used in list(self._last_use.items()):
            if now - used > self.token_lifetime:
                del self._last_use[token]
                self._expired.add(token)
