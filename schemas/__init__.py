"""What travels between the rooms: contracts of files and reports; nothing here reads or writes storage."""
