"""The cluster and the command line: the only room that knows Ray."""
