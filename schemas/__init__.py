"""File formats, reports and requests that all packages share; reads and writes no storage."""

if __name__ != "bitmill.schemas":
    # Imported under a second name, every class would exist twice, and the two would not be equal.
    raise ImportError("import bitmill.schemas: schemas is no package of its own")
