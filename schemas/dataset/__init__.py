"""Formats of a dataset's files: card, plan, ledger, token shard, packing, index, removal records."""
