"""What makes a tokenizer quick without changing its codes: CUDA graphs, workspaces, huge pages, int8."""
