"""What Airflow's UI and CLI learn about the provider.

Data only: Airflow reads it in every process, so nothing is imported.
"""

# No name of a plain setting may contain "token", "secret", "password" and the like: Airflow masks such fields,
# their defaults included.
CONNECTION: dict[str, object] = {
    "connection-type": "optimove",
    "hook-class-name": "airflow_provider_optimove.hooks.optimove.OptimoveHook",
    "hook-name": "Optimove",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "port", "extra"],
        "relabeling": {
            "host": "API server",
            "login": "User name (only without an API key)",
            "password": "API key (or password of the user name)",
        },
        # Airflow 3 shows those of the first three only.
        "placeholders": {
            "host": "https://api5.optimove.net",
            "login": "empty with an API key",
            "password": "API key",
            "api_path": "current",
            "connect_timeout": "10",
            "read_timeout": "300",
            "retry_limit": "4",
            "total_timeout": "1800",
            "rate_limit": "50/10",
            "session_cache": "file",
            "timezone": "Europe/London",
            "verify": "true",
            "proxies": "http://proxy.example.com:3128",
        },
    },
    "conn-fields": {
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
    },
}


def get_provider_info() -> dict[str, object]:
    """The provider's metadata, in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-optimove",
        "name": "Optimove",
        "description": "`Optimove <https://www.optimove.com/>`__: customer relationship marketing.\n",
        "integrations": [
            {
                "integration-name": "Optimove",
                "external-doc-url": "https://docs.optimove.com/api-usage-guide/",
                "tags": ["service"],
            }
        ],
        "operators": [
            {
                "integration-name": "Optimove",
                "python-modules": ["airflow_provider_optimove.operators.optimove"],
            }
        ],
        "sensors": [
            {
                "integration-name": "Optimove",
                "python-modules": ["airflow_provider_optimove.sensors.optimove"],
            }
        ],
        "hooks": [
            {
                "integration-name": "Optimove",
                "python-modules": ["airflow_provider_optimove.hooks.optimove"],
            }
        ],
        "transfers": [
            {
                "source-integration-name": "Optimove",
                "target-integration-name": "Common IO",
                "python-module": "airflow_provider_optimove.transfers.optimove_to_object_storage",
            }
        ],
        "triggers": [
            {
                "integration-name": "Optimove",
                "python-modules": ["airflow_provider_optimove.triggers.optimove"],
            }
        ],
        "connection-types": [CONNECTION],
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
