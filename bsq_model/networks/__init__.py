"""Published networks that judge pictures: for the perceptual loss and for metrics; read from safetensors."""
