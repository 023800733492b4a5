"""Built-in problems."""

from thalweg import hookimpl
from thalweg.hookspecs import Register
from thalweg_plugins.problems.digits import Digits
from thalweg_plugins.problems.quadratic import Quadratic


@hookimpl
def thalweg_register_problems(register: Register) -> None:
    """Register the built-in problems."""
    for problem in (Digits, Quadratic):
        register(problem)
