"""The shard loop: turns decoded items into one token shard and its ledger."""
