"""Run benchmarks: ``python -m benchmarks [NAME ...]``; all by default. Results go to reports/bench/."""

from __future__ import annotations

import argparse
import importlib
import warnings

import torch

from benchmarks.common import FOLDER, Table

NAMES = ("losses", "sampler", "step", "inference", "metrics", "store", "gpu")


def main() -> None:
    """Parse the command line, run, write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default 2)")
    args = parser.parse_args()
    for name in args.names:
        if name not in NAMES:
            parser.error(f"no benchmark '{name}' (there are {', '.join(NAMES)})")
    warnings.filterwarnings("ignore")  # of the peers
    table = Table()
    for name in args.names or NAMES:
        torch.set_num_threads(args.threads)
        print(f"\n{name}", flush=True)
        importlib.import_module(f".{name}", __package__).run(table)
        table.write()
    print(f"\nwritten to {FOLDER / 'bench.csv'}")


if __name__ == "__main__":
    main()
