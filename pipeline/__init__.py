"""One shard, from sources to a committed file, and the way back; knows no cluster."""

if __name__ != "bitmill.pipeline":
    # Under another name every class would exist twice, unequal to itself.
    raise ImportError("import bitmill.pipeline: pipeline is no package of its own")
