"""Re-identification: who is that, among pictures of other cameras? Ranks and scores, re-ranking, ranked lists."""
