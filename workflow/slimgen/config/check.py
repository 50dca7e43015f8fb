"""What is wrong with a config, told before any job: `python -m slimgen check FILE...`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from slimgen.config.errors import ConfigError
from slimgen.config.given_teacher import check_given_teacher
from slimgen.config.paths import check_paths
from slimgen.config.run import Config, read_config
from slimgen.config.sizes import check_sizes


def check_config(config: Config) -> None:
    """Raise ConfigError where a run of this config cannot work, as far as one can see now."""
    check_paths(config)
    check_sizes(config)
    check_given_teacher(config)


def check_files(argv: list[str]) -> int:
    """Tell of every config file whether a run could start with it; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m slimgen check", description="Say what is wrong with config files."
    )
    parser.add_argument("files", metavar="FILE", type=Path, nargs="+")
    code = 0
    for path in parser.parse_args(argv).files:
        try:
            check_config(read_config(path))
            print(f"{path}: right", flush=True)
        except ConfigError as error:
            named = str(error).startswith(f"{path}:")
            print(f"slimgen: {error}" if named else f"slimgen: {path}:\n{error}", file=sys.stderr)
            code = 1
    return code
