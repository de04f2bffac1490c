"""How good reconstructions and codes are, by the published definitions; pure tensor functions."""
