"""From clips to samples: shapes, windows, packing, tensors."""
