"""Decodes one local media file to clips of sampled, resized frames; independent of stores and clusters."""
