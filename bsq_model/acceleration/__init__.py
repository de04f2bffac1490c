"""Speed-ups: CUDA graphs, workspaces and huge pages, which change no bits, and opt-in int8, which does."""
