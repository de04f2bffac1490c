"""``python -m bitmill.jobs``: the same as ``bitmill``."""

from bitmill.jobs.cli import main

main()
