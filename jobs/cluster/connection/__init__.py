"""The connection to Ray: a local one, a cluster, the job API."""
