"""The commands of ``bitmill``, a module each; no command imports another."""
