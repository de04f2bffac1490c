"""Statistics of packed codes: how much of their bits, groups and whole codes is used."""
