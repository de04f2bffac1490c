"""Published tokenizers against their networks written plainly."""
