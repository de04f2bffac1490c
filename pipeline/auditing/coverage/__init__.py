"""Planned against done, in total and by properties of the items. Every tally here merges associatively, exactly."""
