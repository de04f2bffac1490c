"""What the families of tokenizers that are trained have in common: their base class and first weights."""
