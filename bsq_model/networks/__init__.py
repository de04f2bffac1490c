"""Published networks for the perceptual loss and for metrics, read from safetensors."""
