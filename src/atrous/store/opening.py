"""A network from disk: a model folder as a torch network, an exported file as what runs it."""

from __future__ import annotations

from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atrous.contract import AtrousError, Config, Scorer
from atrous.store.folders import CARD, CONFIG, WEIGHTS, is_exported, model_folder, read_config

if TYPE_CHECKING:
    from atrous.models import Segmenter


def open_scorer(path: str | Path, *, device: str | None = None, threads: int | None = None) -> tuple[Scorer, Config]:
    """Open a run, a model folder or an exported file (.onnx, .xml, .pt2): a scorer, and what it says of itself.

    torch is imported for a run, a model folder and a .pt2, and for no other. `device` None takes a GPU where there is
    one that what runs the network can use. `threads` are those that one image is computed with, by default as many as
    there are cores; a torch network's are those of the whole process, and are set for it.

    Raises `AtrousError` where the path is none of these, something in it is missing or damaged, or a device is not
    here.
    """
    if is_exported(path):
        from atrous.prediction.exported import open_exported

        scorer = open_exported(path, threads=threads, device=device)
        return scorer, scorer.config
    segmenter, config = open_model(path)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return segmenter.to(device_of(device)), config


def model_hash(path: str | Path) -> str:
    """Return the SHA-256 of a run's or a model folder's weights, or of an exported file, in hexadecimal.

    Of an OpenVINO network it is that of the weights, the `.bin` beside the `.xml`, since two of one graph may differ.

    Raises `AtrousError` where the path is none of these, or the file is missing.
    """
    path = Path(path)
    if is_exported(path):
        file = path.with_suffix(".bin") if path.suffix.lower() == ".xml" else path
    else:
        file = model_folder(path) / WEIGHTS
    try:
        with file.open("rb") as opened:
            return file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise AtrousError(f"{file}: cannot be read ({error.strerror})") from error


def open_model(path: str | Path) -> tuple[Segmenter, Config]:
    """Open a model folder, or a run's `best/` (else its `last/`, said once): the network in evaluation mode.

    Raises `AtrousError` where the path is neither, or a file is missing, damaged, or of another network.
    """
    if is_exported(path):
        raise AtrousError(f"{path}: an exported network has no torch weights here; give the run it was exported from")
    from atrous.models import Segmenter, build

    folder = model_folder(path)
    config = read_config(folder)
    try:
        net = build(config.model, len(config.space), **config.options)
    except (TypeError, ValueError) as error:
        raise AtrousError(f"{folder / CONFIG}: the network cannot be built: {error}") from error
    load_weights(net, folder / WEIGHTS)
    return Segmenter(net, config.space, config.preprocessing).eval(), config


def load_weights(net: Any, path: Path) -> None:
    """Load a `.safetensors` file into `net`, every tensor of it and nothing else.

    Raises `AtrousError` where the file is missing, damaged, or holds other tensors; the net is unchanged then.
    """
    state = read_weights(path)
    wanted = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if wanted != given:
        differ = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
        name = differ[0]
        raise AtrousError(
            f"{path}: weights of another network: {len(differ)} tensors differ, first {name!r} "
            f"({given.get(name, 'missing')} in the file, {wanted.get(name, 'none')} in the network)"
        )
    net.load_state_dict(state)


def read_weights(path: Path) -> dict[str, Any]:
    """Return the tensors of a `.safetensors` file; raises `AtrousError` where it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise AtrousError(f"{path}: missing; a model folder holds {WEIGHTS}, {CONFIG} and {CARD}")
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise AtrousError(
            f"{path}: a damaged checkpoint ({error}); take another copy, or `last/` for `best/`"
        ) from error


def device_of(name: str | None) -> str:
    """Return a device by name, a GPU without one where there is one; raises `AtrousError` where it is not here."""
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise AtrousError(f"device {name!r} is not here: {str(error).splitlines()[0]}") from error
    return name
