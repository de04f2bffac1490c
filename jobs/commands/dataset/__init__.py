"""Commands on datasets of tokens: plan, tokenize, inspect, audit, export, remove."""
