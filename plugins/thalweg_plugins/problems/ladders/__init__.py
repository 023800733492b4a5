"""The tasks of the benchmark ``ladders``: each a function with six levels of difficulty."""

from thalweg_plugins.problems.ladders.conditioning import Conditioning
from thalweg_plugins.problems.ladders.heavy_tails import HeavyTails
from thalweg_plugins.problems.ladders.moving import Moving
from thalweg_plugins.problems.ladders.noise import Noise
from thalweg_plugins.problems.ladders.plateau import Plateau
from thalweg_plugins.problems.ladders.saddle import SaddleRung
from thalweg_plugins.problems.ladders.scales import Scales
from thalweg_plugins.problems.ladders.sparse import Sparse

LADDERS = (Conditioning, HeavyTails, Moving, Noise, Plateau, SaddleRung, Scales, Sparse)
