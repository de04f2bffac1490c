"""The config.json of an Infinity tokenizer, and its published schedules."""
