"""Sticky Street (The Client Toolbox): the report of all customers."""
