"""Commands for jobs on a remote cluster: submit, status, logs, stop."""
