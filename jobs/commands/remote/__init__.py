"""Commands on a remote cluster: submit, status, logs, stop."""
