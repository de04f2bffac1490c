"""Planned against done, in total and by properties of the items. Tallies merge associatively, exactly."""
