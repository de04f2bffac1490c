"""Decodes only what the sampled frames of a video need, where its packets prove them to be the same."""
