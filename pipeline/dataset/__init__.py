"""Reads and writes a dataset folder's files: card, plan, ledgers, totals. Imports no decoder."""
