"""Decoding of foreign bytes in processes that can be killed."""
