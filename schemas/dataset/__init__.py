"""The files of a dataset: card, plan, ledger, token shard, packing, index, removal records."""
