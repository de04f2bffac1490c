"""From decoded planes to square RGB frames: exact integers, equal on any CPU."""
