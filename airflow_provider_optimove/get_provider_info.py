"""What Airflow's UI and CLI learn about the provider.

Data only: Airflow reads it in every process, so nothing is imported.
"""

# No name of a plain setting may contain "token", "secret", "password" and the like: Airflow masks such fields,
# their defaults included.
WAITING: dict[str, object] = {
    "connect_timeout": {
        "label": "Connect timeout",
        "description": "Seconds to wait for a connection; 10 when empty.",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
    "read_timeout": {
        "label": "Read timeout",
        "description": "Seconds to wait for an answer; 300 when empty. Large pages take minutes.",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
    "retry_limit": {
        "label": "Retries",
        "description": "Further attempts of a call that failed for a moment; 4 when empty.",
        "schema": {"type": ["integer", "null"], "minimum": 0, "maximum": 100},
    },
    "total_timeout": {
        "label": "Total timeout",
        "description": "Seconds that one call may take with all its retries; 1800 when empty.",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
}

THE_WAY_THERE: dict[str, object] = {
    "verify": {
        "label": "Certificate check",
        "description": "Empty: against the known authorities. Or the path of a file with your own authority,"
        " or false for no check.",
        "schema": {"type": ["string", "null"]},
    },
    "proxies": {
        "label": "Proxy",
        "description": 'Address of the proxy, or one a scheme: {"https": "http://proxy.example.com:3128"}.'
        " Empty: what the environment says.",
        "schema": {"type": ["string", "null"]},
    },
    "allow_http": {
        "label": "Allow plain http",
        "description": "Also to other machines than this one. Keys and customer data travel unencrypted then.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
}

# Airflow 3 shows those of host, login and password only.
PLACEHOLDERS: dict[str, str] = {
    "connect_timeout": "10",
    "read_timeout": "300",
    "retry_limit": "4",
    "total_timeout": "1800",
    "verify": "true",
    "proxies": "http://proxy.example.com:3128",
}


def _connection_type(
    conn_type: str,
    name: str,
    *,
    hook: str,
    labels: dict[str, str],
    placeholders: dict[str, str],
    fields: dict[str, object],
) -> dict[str, object]:
    return {
        "connection-type": conn_type,
        "hook-class-name": hook,
        "hook-name": name,
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "port", "extra"],
            "relabeling": labels,
            "placeholders": {**placeholders, **PLACEHOLDERS},
        },
        "conn-fields": fields,
    }


OPTIMOVE = _connection_type(
    "optimove",
    "Optimove",
    hook="airflow_provider_optimove.hooks.optimove.OptimoveHook",
    labels={
        "host": "API server",
        "login": "User name (only without an API key)",
        "password": "API key (or password of the user name)",
    },
    placeholders={
        "host": "https://api5.optimove.net",
        "login": "empty with an API key",
        "password": "API key",
        "api_path": "current",
        "rate_limit": "50/10",
        "session_cache": "file",
        "timezone": "Europe/London",
    },
    fields={
        "timezone": {
            "label": "Time zone",
            "description": "Of the account's dates, e.g. Europe/London. Empty: a DAG's own time zone decides"
            " what yesterday is.",
            "schema": {"type": ["string", "null"]},
        },
        "rate_limit": {
            "label": "Rate limit",
            "description": "Calls per seconds that the tasks of one host keep to, together: 50/10 when empty."
            " Several limits with commas: 50/10,2000/3600. No limit: off.",
            "schema": {"type": ["string", "null"]},
        },
        **WAITING,
        "session_cache": {
            "label": "Share the login",
            "description": "With a user name only. file: the processes of one host share a login, which Optimove"
            " wants. memory: each process logs in for itself.",
            "schema": {"type": ["string", "null"], "enum": ["file", "memory"], "default": "file"},
        },
        "listener_secret": {
            "label": "Listener secret",
            "description": "What the URLs of Optimove's event listener carry: at least 16 characters that nobody can"
            " guess. Several with blanks between while you change it: the first is registered, all are accepted.",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "api_path": {
            "label": "API path",
            "description": "What stands between the server and a function's group; current when empty.",
            "schema": {"type": ["string", "null"]},
        },
        **THE_WAY_THERE,
    },
)

NETMERA = _connection_type(
    "netmera",
    "Netmera",
    hook="airflow_provider_optimove.hooks.netmera.NetmeraHook",
    labels={"host": "API server", "login": "App key", "password": "REST API key"},
    placeholders={
        "host": "https://restapi.netmera.com when empty",
        "login": "app key",
        "password": "REST API key",
    },
    fields={**WAITING, **THE_WAY_THERE},
)

SESSIONM = _connection_type(
    "sessionm",
    "SessionM",
    hook="airflow_provider_optimove.hooks.sessionm.SessionMHook",
    labels={"host": "API server", "login": "API key", "password": "API secret"},
    placeholders={
        "host": "https://api-example.ent-sessionm.com",
        "login": "API key",
        "password": "API secret",
    },
    fields={**WAITING, **THE_WAY_THERE},
)

STICKY_STREET = _connection_type(
    "sticky_street",
    "Sticky Street",
    hook="airflow_provider_optimove.hooks.sticky_street.StickyStreetHook",
    labels={"host": "API address", "login": "User id", "password": "User password (or access key)"},
    placeholders={
        "host": "https://api.clienttoolbox.com when empty",
        "login": "user_id",
        "password": "user_password, or the access key",
        "account_id": "account",
    },
    fields={
        "account_id": {
            "label": "Account id",
            "description": "The account_id of every call.",
            "schema": {"type": ["string", "null"]},
        },
        "key_in_header": {
            "label": "Key in the header",
            "description": "Newer accounts: the password is an access key and travels as the header api_access_key"
            " instead of the body's user_password.",
            "schema": {"type": ["boolean", "null"], "default": False},
        },
        **WAITING,
        **THE_WAY_THERE,
    },
)


SYSTEMS = (
    ("Optimove", "optimove"),
    ("Netmera", "netmera"),
    ("SessionM", "sessionm"),
    ("Sticky Street", "sticky_street"),
)


def get_provider_info() -> dict[str, object]:
    """The provider's metadata, in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-optimove",
        "name": "Optimove",
        "description": "`Optimove <https://www.optimove.com/>`__: customer relationship marketing; and the systems"
        " beside it: Netmera, SessionM and Sticky Street.\n",
        "integrations": [
            {"integration-name": name, "external-doc-url": url, "tags": ["service"]}
            for name, url in (
                ("Optimove", "https://docs.optimove.com/api-usage-guide/"),
                ("Netmera", "https://user.netmera.com/netmera-developer-guide/integrated-modules/optimove"),
                ("SessionM", "https://docs.sessionm.com/"),
                ("Sticky Street", "https://www.stickystreet.com/"),
            )
        ],
        "operators": [
            {"integration-name": name, "python-modules": [f"airflow_provider_optimove.operators.{module}"]}
            for name, module in (("Optimove", "optimove"), ("Netmera", "netmera"), ("SessionM", "sessionm"))
        ],
        "sensors": [
            {
                "integration-name": "Optimove",
                "python-modules": ["airflow_provider_optimove.sensors.optimove"],
            }
        ],
        "hooks": [
            {"integration-name": name, "python-modules": [f"airflow_provider_optimove.hooks.{module}"]}
            for name, module in SYSTEMS
        ],
        "transfers": [
            {
                "source-integration-name": name,
                "target-integration-name": "Common IO",
                "python-module": f"airflow_provider_optimove.transfers.{module}_to_object_storage",
            }
            for name, module in SYSTEMS
            if module != "netmera"
        ],
        "triggers": [
            {
                "integration-name": "Optimove",
                "python-modules": ["airflow_provider_optimove.triggers.optimove"],
            }
        ],
        "connection-types": [OPTIMOVE, NETMERA, SESSIONM, STICKY_STREET],
        "config": {
            "optimove": {
                "description": "Optimove's event listener in the API server (Airflow 3).",
                "options": {
                    "listener_connections": {
                        "description": "Ids of the connections that Optimove's events are taken for, with commas"
                        " between. Each needs a listener_secret. Empty: no event listener.\n",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "optimove_default",
                        "default": "",
                    }
                },
            }
        },
    }
