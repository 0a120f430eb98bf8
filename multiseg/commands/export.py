"""``multiseg export``: a finished run for other programs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from multiseg_core.errors import UserError

KINDS = ("bundle", "torchscript", "onnx", "nnunet")


def add_to(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    sub = add(
        "export", export_command, "Hand a finished run over to other programs.",
        "bundle: a MONAI bundle, which runs without multiseg and gives the labels of multiseg predict. torchscript, "
        "onnx: the networks alone. nnunet: the training cases of the study, with what was not drawn filled in by the "
        "run, as a folder that nnU-Net trains on.",
    )  # fmt: skip
    sub.add_argument("run_folder", type=Path, metavar="RUN", help="folder of a finished run, in reports/NAME/runs")
    sub.add_argument("--to", choices=KINDS, required=True, help="what to write")
    sub.add_argument("--out", "-o", type=Path, required=True, metavar="FOLDER", help="folder to write, which is new")
    sub.add_argument("--params", type=Path, help="of --to nnunet: the study that the run belongs to")


def export_command(options: argparse.Namespace) -> None:
    """Do what ``multiseg export`` is asked for. Raises `UserError` naming the option or file at fault."""
    if options.out.exists():
        raise UserError(f"{options.out}: is there already; give another folder by -o, or remove it")
    if (options.to == "nnunet") != (options.params is not None):
        raise UserError("--params PARAMS: needed by --to nnunet, and only by it")
    from ..handover.finished import Finished

    run = Finished.open(options.run_folder)
    if options.to == "bundle":
        from ..handover.bundle import write_bundle

        write_bundle(run, options.out)
    elif options.to == "nnunet":
        from ..handover.nnunet_folder import write_nnunet
        from ..study.study import Study

        for line in write_nnunet(run, Study(options.params), options.out):
            print(line)
    else:
        from ..handover.network_files import write_network

        write_network(run, options.out, options.to)
    print(f"written: {options.out}")
