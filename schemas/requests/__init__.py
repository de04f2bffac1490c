"""What users ask for: jobs, training runs, submissions."""
