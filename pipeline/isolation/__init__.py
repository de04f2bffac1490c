"""Decodes untrusted bytes in processes that can be killed."""
