"""Newton's method, Gauss-Newton and quasi-Newton methods."""
