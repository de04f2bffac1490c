"""From latents to bits: binary spherical quantization and its entropy."""
