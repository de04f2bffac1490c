"""A stated sample of clips, decoded, compared with their sources, and tokenized again."""
