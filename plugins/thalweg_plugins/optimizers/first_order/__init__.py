"""Methods that step on the gradient alone, weight by weight."""
