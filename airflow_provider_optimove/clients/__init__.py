"""Clients of the remote systems in plain Python; Airflow is never imported here."""
