"""What a dataset holds, lacks and is worth, found by reading its files. Knows no Ray."""
