"""Airflow connections → clients."""
