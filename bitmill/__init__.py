"""Turns image and video collections into training-ready tokens.

The rooms are ``bitmill.schemas``, ``bitmill.bsq_model``, ``bitmill.pipeline`` and ``bitmill.jobs``. In the
repository they lie at the top; the links beside this file bring them in (docs/adr/0012).
"""
