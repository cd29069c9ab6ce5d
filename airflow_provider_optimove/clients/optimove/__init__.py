"""Optimove's API: what its functions are, what goes over the wire, and the client that sends it."""
