"""The layers of encoder and decoder: transformer, convolutions, attention, pixels in and out."""
