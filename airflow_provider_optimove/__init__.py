"""Apache Airflow provider for Optimove."""

__version__ = "0.1.0"
