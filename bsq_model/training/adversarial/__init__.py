"""The discriminator, its losses and its training step."""
