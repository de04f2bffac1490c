"""How alive a code is: what its bits, groups and whole codes are worth, counted over packed clips."""
