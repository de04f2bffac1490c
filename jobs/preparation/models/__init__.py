"""Models that commands name: tokenizers and the frame sizes they take, token models, metric networks."""
