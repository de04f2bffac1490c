"""Training samples decoded on the fly: schedule, workers, batches."""
