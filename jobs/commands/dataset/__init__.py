"""Commands on token datasets: plan, tokenize, inspect, audit, export, remove."""
