"""Room `serving`: a trained PRM for other programs: reward functions for RL, and scores over HTTP."""
