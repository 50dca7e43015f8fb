"""AutoGAN: search, training of the found generators, and their transfer."""
