"""Decodes training samples on the fly: schedule, workers, batches."""
