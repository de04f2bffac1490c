"""Training of models over tokens, from shards that ``bitmill tokenize`` wrote."""
