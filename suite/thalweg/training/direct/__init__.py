"""Forward and backward passes of plain networks as lists of operations, without autograd."""
