"""Curves of other tools as trials: readers give runs, a mapping names their parts, and trials are written."""
