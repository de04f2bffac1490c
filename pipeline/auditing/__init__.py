"""Audits a dataset: what it contains, what is missing and what is damaged. Does not use Ray."""
