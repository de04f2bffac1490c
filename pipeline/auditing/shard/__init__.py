"""Audits one shard: reads its files, checks its rows and ledger."""
