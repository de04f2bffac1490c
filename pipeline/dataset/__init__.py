"""The files of a dataset's folder: plan, ledger, attempts, totals. Imports no decoder."""
