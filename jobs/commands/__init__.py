"""The commands of ``bitmill``, one module each; no command imports another."""
