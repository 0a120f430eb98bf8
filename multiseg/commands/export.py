"""``multiseg export``: a finished run for other programs."""

from __future__ import annotations

import argparse

from multiseg_core.errors import UserError

from ..handover import bundle, network_files, nnunet_folder
from ..handover.finished import Finished
from . import studies


def run(options: argparse.Namespace) -> None:
    """Do what ``multiseg export`` is asked for. Raises `UserError` naming the option or file at fault."""
    if options.out.exists():
        raise UserError(f"{options.out}: is there already; give another folder by -o, or remove it")
    if (options.to == "nnunet") != (options.params is not None):
        raise UserError("--params PARAMS: needed by --to nnunet, and only by it")

    finished = Finished.open(options.run_folder)
    if options.to == "bundle":
        bundle.write_bundle(finished, options.out)
    elif options.to == "nnunet":
        print("\n".join(nnunet_folder.write_nnunet(finished, studies.load(options), options.out)))
    else:
        network_files.write_network(finished, options.out, options.to)
    print(f"written: {options.out}")
