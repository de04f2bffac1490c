"""A run: the driver, its pool of actors, the checkpoint of its totals."""
