"""From trials to leaderboards: DataFrame in, DataFrame out."""
