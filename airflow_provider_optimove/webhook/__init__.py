"""Optimove's event listener: HTTP -> asset events (Airflow 3)."""
