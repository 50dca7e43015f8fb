"""What runs and what has run: plan, code digests, progress; reads only files."""
