"""Scheduling of shards on actors: queue, retries, heartbeats, autoscaling, signals. Imports no Ray."""
