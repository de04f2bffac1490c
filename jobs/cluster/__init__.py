"""The door to Ray: a session, decoding tasks, tokenizer actors; what leaves it is plain Python.

Nothing is imported here, so that a decoding process loads the decoders and neither torch nor the driver.
"""
