"""The systems: one package per paper, one file per stage."""
