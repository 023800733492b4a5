"""Methods that use only the gradient, and treat each weight by itself."""
