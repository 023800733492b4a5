"""The loss at many weight vectors, directions between them, and contours of what comes out."""
