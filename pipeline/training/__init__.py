"""Training from media: batches of clips decoded on the way, the loop, and what it writes."""
