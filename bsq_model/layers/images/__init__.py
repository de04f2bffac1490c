"""Networks of convolutions over single images, down to a grid of latents and back."""
