"""The cluster and the command line: the only room that knows Ray."""

if __name__ != "bitmill.jobs":
    # Under another name every class would exist twice, unequal to itself.
    raise ImportError("import bitmill.jobs: jobs is no package of its own")
