"""Section L: statements from after the lecture."""

from thalweg_plugins.claims.later.batch_sizes import BatchSizes
from thalweg_plugins.claims.later.classes import AdamOnHeavyTails
from thalweg_plugins.claims.later.connected import L2
from thalweg_plugins.claims.later.edge import EdgeOfStability
from thalweg_plugins.claims.later.eigenspace import TopEigenspace
from thalweg_plugins.claims.later.tuned import MuonAgainstAdamW, ScheduleFree
from thalweg_plugins.claims.later.warm_up import L9
from thalweg_plugins.claims.later.width_transfer import L8

CLAIMS: tuple[type, ...] = (
    EdgeOfStability,
    L2,
    AdamOnHeavyTails,
    MuonAgainstAdamW,
    ScheduleFree,
    BatchSizes,
    L8,
    L9,
    TopEigenspace,
)
