"""The pipeline of one shard, from sources to committed files, and reading them back. Imports no Ray."""

if __name__ != "bitmill.pipeline":
    # Imported under another name, every class would exist twice, and the two would not compare equal.
    raise ImportError("import bitmill.pipeline: pipeline is no package of its own")
