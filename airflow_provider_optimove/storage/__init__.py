"""Files of rows, on this machine or in an object storage."""
