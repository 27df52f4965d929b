"""The command line as a user meets it: exit codes, words, JSON, and what lies on disk afterwards."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atrous import cli, flags
from atrous.contract import Recipe
from atrous.data.scenes import street_space, write_scenes

TINY = ["--crop", "33", "--batch", "4", "--width", "0.125", "--workers", "0", "--warm-up", "0", "--scale", "1", "1"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of ten small street scenes."""
    root = tmp_path_factory.mktemp("data") / "street"
    return write_scenes(root, train=8, val=2, size=(40, 52))


@pytest.fixture(scope="module")
def trained(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of one epoch."""
    out = tmp_path_factory.mktemp("runs") / "street"
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", str(street), "--out", str(out), "--epochs", "1", "--quiet", *TINY])
    assert stop.value.code == 0
    return out


def test_help_names_every_command_and_does_not_import_torch() -> None:
    code = "import sys; from atrous import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules), 'heavy'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("demo", "inspect", "train", "evaluate", "predict", "models", "doctor"):
        assert f" {command} " in done.stdout


def test_version_is_printed(run: Run) -> None:
    import atrous

    code, out, _ = run("--version")
    assert (code, out.strip()) == (0, atrous.__version__)


def test_every_field_of_the_recipe_is_a_flag() -> None:
    from atrous.cli.recipe_flags import RecipeFlags

    recipe, flags = ({field.name for field in dataclasses.fields(kind)} for kind in (Recipe, RecipeFlags))
    assert recipe == flags


def test_train_writes_a_run_and_says_what_is_next(trained: Path, street: Path) -> None:
    for folder in ("best", "last"):
        for name in ("model.safetensors", "config.json", "README.md"):
            assert (trained / folder / name).is_file()
    assert {path.name for path in trained.iterdir()} == {
        "best",
        "last",
        "recipe.json",
        "split.json",
        "log.jsonl",
        "events",
        "fingerprint.json",
        "environment.json",
        "curves.png",
        "samples",
    }
    config = json.loads((trained / "best" / "config.json").read_text())
    assert config["classes"] == list(street_space().names)
    assert config["recipe"]["crop"] == [33, 33]


def test_train_as_json_is_one_document(run: Run, street: Path, tmp_path: Path) -> None:
    code, out, err = run("train", street, "--out", tmp_path / "run", "--epochs", 1, "--json", *TINY)
    assert code == 0
    assert json.loads(out)["run"] == str(tmp_path / "run")
    assert "random weights; --pretrained would start the encoder" in err
    assert "epoch 1/1" in err


def test_train_without_a_model_is_deeplab_v3plus_with_resnet18(
    run: Run, street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("train", street, "--epochs", 1, "--quiet", *TINY)
    assert code == 0
    assert out.startswith("run in runs/street: best/ and last/")
    recipe = json.loads((tmp_path / "runs" / "street" / "recipe.json").read_text())
    assert (recipe["model"], recipe["encoder"]) == ("deeplab_v3plus", "resnet18")


def test_a_run_in_the_way_is_refused(run: Run, street: Path, trained: Path) -> None:
    code, _, err = run("train", street, "--out", trained, *TINY)
    assert code == 2
    assert err == f"atrous: {trained}: holds a run already; --resume goes on with it, --overwrite throws it away\n"


def test_resume_goes_on_and_refuses_another_recipe(run: Run, street: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    code, _, err = run("train", street, "--out", out, "--resume", "--batch", 3)
    assert code == 2
    assert "the run was started with --batch 4, not 3; leave --batch out to resume" in err
    code, _, err = run("train", street, "--out", out, "--resume", "--epochs", 2, "--workers", 0)
    assert code == 0
    assert "resumed at step 2 of 4" in err
    assert len((out / "log.jsonl").read_text().splitlines()) == 2


def test_evaluate_begins_with_mean_iou(run: Run, street: Path, trained: Path) -> None:
    code, out, _ = run("evaluate", trained, street, "--split", "val", "--quiet")
    assert code == 0
    assert out.startswith("mean IoU")
    assert "2 images" in out
    code, out, _ = run("evaluate", trained, street, "--json")
    assert set(json.loads(out)) >= {"mean_iou", "pixel_accuracy", "classes", "definitions", "confusion"}


def test_evaluate_on_a_split_that_is_not_there(run: Run, street: Path, trained: Path) -> None:
    code, _, err = run("evaluate", trained, street, "--split", "test")
    assert code == 2
    assert "no images in the split 'test'; there are train (8), val (2)" in err


def test_evaluate_on_masks_with_other_classes(run: Run, trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for folder in ("images", "masks"):
        (other / folder).mkdir(parents=True)
        for name in ("a", "b"):
            Image.fromarray(np.full((20, 20), 77, np.uint8)).save(other / folder / f"{name}.png")
    code, _, err = run("evaluate", trained, other)
    assert code == 2
    assert "label 77 is outside 0..7 and is not the ignore value 255. 400 pixels have it." in err


def test_predict_writes_masks_and_overlays_and_reports_a_broken_image(
    run: Run, street: Path, trained: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(street / "images" / "val", photos)
    (photos / "broken.png").write_bytes(next(photos.iterdir()).read_bytes()[:200])
    code, out, err = run("predict", trained, photos, "--out", tmp_path / "out", "--quiet")
    assert code == 1
    assert "2 predicted, 1 failed" in out
    assert "broken.png" in err
    assert "(skipped)" in err
    names = sorted(path.stem for path in (tmp_path / "out" / "masks").iterdir())
    assert names == sorted(path.stem for path in (street / "images" / "val").iterdir())
    for name in names:
        with Image.open(tmp_path / "out" / "masks" / f"{name}.png") as mask:
            assert (mask.mode, mask.size) == ("P", (52, 40))
        assert (tmp_path / "out" / "overlays" / f"{name}.jpg").is_file()
    assert not (tmp_path / "out" / "probabilities").exists()


def test_predict_as_json_lists_files(run: Run, street: Path, trained: Path, tmp_path: Path) -> None:
    image = next((street / "images" / "val").iterdir())
    code, out, _ = run(
        "predict", trained, image, "--out", tmp_path / "out", "--save", "masks,probabilities", "--json", "--quiet"
    )
    assert code == 0
    written = json.loads(out)["written"]
    assert [Path(path).parent.name for path in written] == ["masks", "probabilities"]
    with np.load(written[1]) as stored:
        assert stored["probabilities"].shape == (8, 40, 52)
        assert stored["names"].tolist() == list(street_space().names)


def test_inspect_is_0_when_healthy_and_1_with_findings(run: Run, street: Path, tmp_path: Path) -> None:
    code, out, _ = run("inspect", street, "--quiet", "--json")
    assert (code, json.loads(out)["images"]) == (0, 10)
    sick = tmp_path / "sick"
    shutil.copytree(street, sick)
    mask = next((sick / "masks" / "train").iterdir())
    with Image.open(mask) as opened:
        opened.resize((20, 20)).save(mask)
    code, out, _ = run("inspect", sick, "--quiet")
    assert code == 1
    assert mask.name in out


def test_inspect_takes_classes_and_ignore(run: Run, street: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(street, plain)
    (plain / "classes.json").unlink()
    names = ",".join(street_space().names)
    code, out, _ = run("inspect", plain, "--classes", names, "--ignore", 255, "--json", "--quiet")
    assert code == 0
    assert [item["name"] for item in json.loads(out)["classes"]] == names.split(",")


def test_models_lists_the_table(run: Run) -> None:
    from atrous.models import TABLE

    code, out, _ = run("models")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(TABLE)


def test_doctor_says_what_is_here(run: Run) -> None:
    code, out, _ = run("doctor", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["cv2.ximgproc"] == "present"
    assert {"torch", "torch threads", "devices", "kernels", "extra train", "extra serve"} <= set(found)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "nowhere"], "nowhere: no such folder"),
        (["predict", "nowhere", "photos", "--out", "out"], "nowhere: no such model folder or run"),
        (["evaluate", "nowhere", "data"], "nowhere: no such model folder or run"),
        (["train", "DATA", "--crop", "big"], "--crop big: one number like 256, or height x width like 256x336"),
        (["train", "DATA", "--ignore", "1,2"], "--ignore 1,2: a number like 255 or a colour like 0,0,0 is accepted"),
        (["train", "DATA", "--out", "r", "--model", "unett"], "model 'unett' is not known"),
        (["train", "DATA", "--out", "r", "--encoder", "resnet19"], "encoder 'resnet19' is not known; near it: resnet"),
        (
            ["train", "DATA", "--out", "r", "--epochs", "0"],
            "epochs: input should be greater than or equal to 1, 0 came",
        ),
        (["train", "DATA", "--out", "r", "--device", "tpu"], "device 'tpu' is not here; this machine has cpu"),
        (["train", "DATA", "--resume", "--out", "none"], "none: no run to resume"),
        (["train", "DATA", "--resume", "--overwrite", "--out", "r"], "both resume and overwrite came"),
        (["train", "DATA", "--colour"], "--colour"),
        (["train"], 'Command "train" parameter DATA requires an argument'),
        (
            ["predict", "RUN", "DATA", "--out", "o", "--save", "pictures"],
            "save 'pictures' is not known; there are masks",
        ),
        (["predict", "RUN", "nothing", "--out", "o"], "nothing: no such file or folder; a file, a folder or a pattern"),
    ],
)
def test_errors_are_one_line_and_exit_with_2(
    run: Run,
    street: Path,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"DATA": str(street), "RUN": str(trained)}
    code, out, err = run(*(places.get(argument, argument) for argument in arguments))
    last = err.strip().splitlines()[-1]
    assert code == 2
    assert out == ""
    assert last.startswith("atrous: ")
    assert words in last


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    from atrous.contract import AtrousError

    with pytest.raises(AtrousError, match="nowhere: no such folder"):
        cli.main(["train", "nowhere", "--debug"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "data", "--pretrained"], "--pretrained=true"),
        (["train", "--pretrained", "data"], "--pretrained=true"),
        (["train", "data", "--pretrained", "trunk.safetensors"], "--pretrained"),
        (["train", "data", "--pretrained", "runs/mistyped"], "--pretrained"),
        (["train", "data", "--pretrained", "--epochs", "3"], "--pretrained=true"),
    ],
)
def test_pretrained_is_a_flag_or_takes_a_file(arguments: list[str], expected: str) -> None:
    assert expected in flags.with_flag_values(arguments)


def test_pretrained_file_that_is_missing(run: Run, street: Path, tmp_path: Path) -> None:
    code, _, err = run("train", street, "--out", tmp_path / "r", "--pretrained", tmp_path / "none.safetensors")
    assert code == 2
    assert "none.safetensors: no such file; --pretrained takes a .safetensors file of the encoder 'resnet18'" in err
    assert not (tmp_path / "r").exists()


def test_ctrl_c_leaves_a_run_that_can_be_resumed(street: Path, tmp_path: Path) -> None:
    import signal

    command = [sys.executable, "-m", "atrous", "train", str(street), "--out", str(tmp_path / "run"), *TINY]
    process = subprocess.Popen([*command, "--epochs", "500"], stderr=subprocess.PIPE, text=True)
    log = tmp_path / "run" / "log.jsonl"
    deadline = time.monotonic() + 120
    while not log.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted; a run goes on with --resume" in err
    step = json.loads((tmp_path / "run" / "last" / "state.json").read_text())["step"]
    epochs = str(step // 2 + 1)
    recipe = tmp_path / "run" / "recipe.json"
    recipe.write_text(recipe.read_text().replace('"epochs": 500', f'"epochs": {epochs}'))
    done = subprocess.run([*command[:7], "--resume", "--workers", "0"], capture_output=True, text=True, check=True)
    assert f"resumed at step {step} of " in done.stderr


def test_python_dash_m_is_the_same_door() -> None:
    done = subprocess.run([sys.executable, "-m", "atrous", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == cli.__version__


def test_unexpected_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    from atrous import verbs

    def broken(*arguments: Any, **options: Any) -> None:
        raise KeyError("a mistake of ours")

    monkeypatch.setattr(verbs, "inspect", broken)
    with pytest.raises(KeyError, match="a mistake of ours"):
        cli.main(["inspect", "."])


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of the weights of an ImageNet classifier that was never trained."""
    import timm
    import torch

    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save({"state_dict": timm.create_model("resnet18").state_dict()}, path)
    return path


def test_import_says_what_it_recognised_and_what_is_next(
    run: Run, street: Path, classifier: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    code, said, _ = run("import", classifier, "--as", "deeplab_v3plus", "--classes", "road, car", "--out", out)
    assert code == 0
    lines = said.splitlines()
    assert lines[0] == "recognised: weights of the encoder resnet18, deeplab_v3plus here"
    assert lines[-1] == f"model in {out}; next: atrous predict {out} IMAGES --out out/"
    assert any("the head is fresh" in line for line in lines)
    photo = next((street / "images" / "val").iterdir())
    code, said, _ = run("predict", out, photo, "--out", tmp_path / "out", "--quiet")
    assert (code, said.split(":")[0]) == (0, "1 predicted, 0 failed")


def test_import_as_json_is_one_document(run: Run, classifier: Path, tmp_path: Path) -> None:
    words = ["--as", "deeplab_v3plus", "--classes", "road,car", "--option", "output_stride=8", "--json"]
    code, said, _ = run("import", classifier, "--out", tmp_path / "model", *words)
    found = json.loads(said)
    assert (code, found["model"]) == (0, str(tmp_path / "model"))
    assert found["recognised"].startswith("weights of the encoder resnet18")
    assert any("the classifier is left out: fc" in note for note in found["notes"])
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["classes"], config["options"]["output_stride"]) == (["road", "car"], 8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.pth"], "none.pth: no such file"),
        (["FILE"], "weights of no network that is known"),
        (["FILE", "--as", "deeplab"], "model 'deeplab' is not known"),
        (["FILE", "--as", "deeplab_v3plus", "--option", "out=x"], "--option out: is no option of a network"),
        (
            ["FILE", "--as", "deeplab_v3plus", "--encoder", "resnet50"],
            "tensors of 'resnet50' are missing or of another",
        ),
        (["PICKLE"], "evil.pth: the pickle wants to call os.system; refused"),
    ],
)
def test_import_refuses_in_one_line_and_writes_nothing(
    run: Run, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    evil = tmp_path / "evil.pth"
    evil.write_bytes(b"\x80\x02cposix\nsystem\nX\x0c\x00\x00\x00touch marker\x85R.")
    places = {"FILE": str(classifier), "PICKLE": str(evil)}
    code, out, err = run("import", *(places.get(each, each) for each in arguments), "--out", "model")
    assert (code, out) == (2, "")
    assert words in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pth"]


def test_describe_prints_a_row_per_stage(run: Run) -> None:
    code, out, err = run("describe", "unet", "--size", "188x204", "--classes", 2, "--in-channels", 1)
    assert (code, err) == (0, "")
    assert out.startswith("unet on 188 x 204 pixels of 1 channel\n")
    assert "bottom" in out
    assert "31,030,658" in out


def test_describe_as_json_is_one_document(run: Run) -> None:
    code, out, _ = run("describe", "deeplab_v3plus", "--encoder", "resnet18", "--output-stride", 8, "--json")
    found = json.loads(out)
    assert (code, found["size"], found["stages"][-1]["channels"]) == (0, [513, 513], 21)
    assert [stage["stride"] for stage in found["stages"] if stage["name"] == "layer4"] == [8]


def test_describe_of_no_size_does_not_import_torch() -> None:
    code = "import sys, atrous\ntry: atrous.describe('unet', size=(5, 0))\nexcept ValueError as error: print(error)\n"
    code += "assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "size 5 x 0 came; both sides are 1 or more\n"


def test_describe_takes_options_of_the_network(run: Run) -> None:
    code, out, _ = run("describe", "fcn8s", "--option", "deconvolution=full", "--size", 65, "--json")
    assert (code, json.loads(out)["parameters"]) == (0, 134_489_759)


def test_describe_a_run_and_draw_it(run: Run, trained: Path, street: Path, tmp_path: Path) -> None:
    image = sorted((street / "images").rglob("*.png"))[0]
    picture = tmp_path / "street.png"
    code, out, _ = run("describe", trained, "--size", "40x52", "--plot", picture, "--image", image)
    assert code == 0
    assert re.match(r"deeplab_v3plus \(.*encoder resnet18.*\) on 49 x 65 pixels", out)
    assert out.endswith(f"picture in {picture}\n")
    with Image.open(picture) as drawn:
        assert drawn.size[1] == 1440


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["unett"], "model 'unett' is not known; there are fcn32s, .*Did you mean unet"),
        (["runs/none"], "runs/none: no such model folder or run"),
        (["net.onnx"], "net.onnx: there is no such file"),
        (["unet", "--size", "0"], "size 0 x 0 came; both sides are 1 or more"),
        (["unet", "--size", "big"], "--size big: one number like 256, or height x width like 256x336, is accepted"),
        (["unet", "--option", "width=1"], "--option width: has a flag of its own, --width"),
        (["unet", "--option", "pretrained=true"], "weights have no part in a description: train with them"),
        (["unet", "--image", "x.png"], "--image is what the picture of --plot shows; give --plot FILE with it"),
        (["unet", "--size", "188", "--width", "0.1", "--plot", "x.docx"], "x.docx: a figure is written as"),
        (["unet", "--size", "188", "--width", "0.1", "--plot", "x.png", "--image", "no.png"], "no.png"),
    ],
)
def test_describe_refuses_in_one_line(run: Run, arguments: list[str], words: str) -> None:
    code, out, err = run("describe", *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert re.search(words, err)


def test_describe_of_a_run_takes_no_options(run: Run, trained: Path) -> None:
    code, _, err = run("describe", trained, "--classes", 3)
    assert code == 2
    assert f"{trained}: is a model and says itself what it is; leave classes out" in err
