"""The audit of one shard: its files read, its rows and ledger checked."""
