"""``bitmill config``: the keys of job and training files, and a job file to start from."""
