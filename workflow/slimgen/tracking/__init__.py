"""What has run: code digests, progress, DVC and provenance; reads only files."""
