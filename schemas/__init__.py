"""What travels between the rooms: contracts of files and reports; nothing here reads or writes storage."""

if __name__ != "bitmill.schemas":
    # Under another name every class would exist twice, unequal to itself.
    raise ImportError("import bitmill.schemas: schemas is no package of its own")
