"""Compares planned and done work, in total and by item properties. Tallies merge exactly in any grouping."""
