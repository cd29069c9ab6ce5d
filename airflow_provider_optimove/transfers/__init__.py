"""Optimove and the systems beside it → files, on this machine or in an object storage."""
