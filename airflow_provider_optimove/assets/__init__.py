"""What Optimove's events are in a DAG's schedule."""
