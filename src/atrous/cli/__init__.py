"""The command line: flags to verbs. Nothing heavy is imported before a command runs, so the help is instant."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from atrous import __version__, flags
from atrous.cli.data_commands import bench_data, convert, inspect
from atrous.cli.evaluation_commands import compare, evaluate
from atrous.cli.export_commands import bench, export
from atrous.cli.image_commands import refine
from atrous.cli.listing_commands import runs
from atrous.cli.network_commands import describe, doctor, import_weights, models, recipes
from atrous.cli.predict_command import predict
from atrous.cli.run_commands import crf_tune, demo, lr_find, train
from atrous.cli.tune_command import tune

app = App(
    name="atrous",
    help="Semantic segmentation from FCN to DeepLab v3+: train, evaluate and predict.",
    help_epilogue="--debug with any command shows where an error came from. Exit codes: 0 well, 1 done with findings "
    "or failures, 2 not done, 130 interrupted.",
    version=__version__,
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)

_TRAINING = ("torch", "timm", "accelerate", "tensorboard")
_GOES_ON = {
    "train": "; a run goes on with --resume",
    "tune": "; the same command goes on with the search",
    "predict": "; the same command goes on with what is left",
}

for _command in (demo, inspect, convert, bench_data, lr_find, train, tune, runs):
    app.command(_command)
for _use in (evaluate, compare, predict, refine, crf_tune):
    app.command(_use)
app.command(import_weights, name="import")
for _file in (export, bench):
    app.command(_file)
for _about in (describe, models, recipes, doctor):
    app.command(_about)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 well, 1 done with findings or failures, 2 not done, 130 interrupted."""
    sys.exit(_run(list(sys.argv[1:] if arguments is None else arguments)))


def _run(arguments: list[str]) -> int:
    debug = "--debug" in arguments
    arguments = flags.with_flag_values([item for item in arguments if item != "--debug"])
    told = logging.StreamHandler(sys.stderr)
    logging.getLogger("atrous").addHandler(told)
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _failed(f"{error}{_swallowed(arguments)} (atrous --help, or atrous COMMAND --help, lists what there is)")
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  (so that nothing fails when Python ends)
        code = 0
    except KeyboardInterrupt:
        resumable = _GOES_ON.get("".join(arguments[:1]), "")
        print(f"interrupted{resumable}", file=sys.stderr)
        code = 130
    except Exception as error:
        # The contract is imported here, not above: it brings NumPy and pydantic, and the help needs neither.
        from atrous.contract import AtrousError

        if debug:
            raise
        if isinstance(error, AtrousError | ValueError):
            return _failed(_explained(error))
        if isinstance(error, ModuleNotFoundError) and error.name in _TRAINING:
            return _failed(f'{error.name} is not installed, and this command needs it: pip install "atrous[train]"')
        if isinstance(error, MemoryError | RuntimeError) and "out of memory" in str(error):
            return _failed("the device is out of memory: take a smaller --batch or --crop")
        raise
    finally:
        logging.getLogger("atrous").removeHandler(told)
    return code if isinstance(code, int) else 0


def _swallowed(arguments: Sequence[str]) -> str:
    """Return the words for a flag that may have taken what was meant for the command."""
    greedy = [flag for flag in ("--freeze", "--loss-weights") if flag in arguments]
    return f" {' and '.join(greedy)} took all the words that follow: give DATA first." if greedy else ""


def _failed(message: str) -> int:
    print(f"atrous: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _explained(error: Exception) -> str:
    from atrous.store import explained

    return explained(error, flags=True)
