"""Toy tokenizers, offered to bitmill as a package of others offers its own: by entry points alone."""
