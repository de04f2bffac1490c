"""How quickly pictures become tokens, and back: the model alone, from frames in memory."""
