"""``multiseg export``: a finished run for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from multiseg_core.errors import UserError

from . import studies


def add_to(add: studies.Add) -> None:
    """Add the command to a parser."""
    sub = add(
        "export", export_command, "Hand a finished run over to other programs.",
        "bundle: a MONAI bundle, which runs without multiseg and gives the labels of multiseg predict. torchscript, "
        "onnx: the networks alone. nnunet: the training cases of the study, with what was not drawn filled in by the "
        "run, as a folder that nnU-Net trains on.",
    )  # fmt: skip
    sub.add_argument("run_folder", type=Path, metavar="RUN", help="folder of a finished run, in reports/NAME/runs")
    kinds = ("bundle", "torchscript", "onnx", "nnunet")
    sub.add_argument("--to", choices=kinds, required=True, help="what to write")
    sub.add_argument("--out", "-o", type=Path, required=True, metavar="FOLDER", help="folder to write, which is new")
    sub.add_argument("--params", type=Path, help="of --to nnunet: the study that the run belongs to")


def export_command(options: argparse.Namespace) -> None:
    """Do what ``multiseg export`` is asked for. Raises `UserError` naming the option or file at fault."""
    if options.out.exists():
        raise UserError(f"{options.out}: is there already; give another folder by -o, or remove it")
    if (options.to == "nnunet") != (options.params is not None):
        raise UserError("--params PARAMS: needed by --to nnunet, and only by it")
    from ..handover import bundle, network_files, nnunet_folder
    from ..handover.finished import Finished

    run = Finished.open(options.run_folder)
    if options.to == "bundle":
        bundle.write_bundle(run, options.out)
    elif options.to == "nnunet":
        print("\n".join(nnunet_folder.write_nnunet(run, studies.load(options), options.out)))
    else:
        network_files.write_network(run, options.out, options.to)
    print(f"written: {options.out}")
