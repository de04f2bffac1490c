"""What the tensors of published weights are, by family: the network's, and those that it does without."""
