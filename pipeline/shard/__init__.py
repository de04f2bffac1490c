"""The shard loop: decoded items in, one token shard and its ledger out."""
