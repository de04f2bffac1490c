"""The only package that imports Ray: sessions, decoding tasks, tokenizer actors. It returns plain Python.

This file imports nothing, so that a decoding process loads the decoders but neither torch nor the driver.
"""
