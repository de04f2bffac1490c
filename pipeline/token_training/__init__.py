"""Trains token models on shards that ``bitmill tokenize`` wrote."""
