"""What runs and what has run: plan, code digests, progress, SLURM, DVC; reads only files."""
