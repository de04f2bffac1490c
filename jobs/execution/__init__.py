"""Runs tokenization and audits: the driver, its actor pool, the checkpoint of totals."""
