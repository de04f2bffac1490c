"""Connections to Ray: a local session, a cluster, the job API."""
