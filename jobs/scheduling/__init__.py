"""Which actor does what and when: queue, retries, heartbeat, autoscaling, signals. Imports no Ray."""
