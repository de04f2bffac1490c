"""The door to Ray: a session, decoding tasks, tokenizer actors; what leaves it is plain Python."""

from jobs.cluster.session import Cluster, Work

__all__ = ["Cluster", "Work"]
