"""Imports published weights of BSQ-ViT, VidTok and Cosmos without executing anything in them."""
