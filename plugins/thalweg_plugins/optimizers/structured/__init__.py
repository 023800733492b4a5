"""Methods that treat a layer's weights as a matrix."""
