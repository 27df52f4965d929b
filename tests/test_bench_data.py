"""`bench-data` says what limits, and the flags of speed reach training without changing what is learnt."""

import json

import pytest

from atrous import flags, verbs
from atrous.contract import AtrousError
from atrous.data.scenes import write_scenes
from atrous.runs import Feeding

TINY = {"model": "unet", "width": 1 / 32, "options": {"norm": "batch"}, "crop": (48, 48), "batch": 2, "epochs": 1}


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """Return a folder of small street scenes."""
    return write_scenes(tmp_path_factory.mktemp("data") / "street", train=4, val=2, size=(48, 52))


def fed(**changes):
    return Feeding(**{
        "workers": 1, "batch": 4, "decode_ms": 6.0, "augment_ms": 2.0, "loader": 50.0, "network": 100.0,
        "device": "cpu", **changes,
    })  # fmt: skip


def test_the_advice_hangs_on_what_limits():
    assert fed().limit == "loader"
    assert "2.0 times too slow, and most of its time is decoding: keep what is decoded with --cache" in fed().as_text()
    assert "most of its time is augmentation" in fed(augment_ms=7.0).as_text()
    assert fed(loader=300.0).limit == "network"
    assert "the network limits: the loader could feed 3.0 of it" in fed(loader=300.0).as_text()
    assert fed().as_json()["limit"] == "loader"


def test_a_folder_is_timed(street, tmp_path):
    found = verbs.bench_data(street, **TINY, workers=0, seconds=0.05, cache=tmp_path / "cache")
    assert found.loader > 0
    assert found.network > 0
    assert (found.workers, found.batch, found.device) == (0, 2, "cpu")
    assert list((tmp_path / "cache").glob("*/samples.bin"))


def test_the_command_line(run, street):
    code, out, _ = run(
        "bench-data", street, "--model", "unet", "--crop", "48", "--batch", "2", "--seconds", "0.05", "--workers", "0",
        "--device", "cpu", "--json",
    )  # fmt: skip
    assert code == 0
    assert set(json.loads(out)) == {
        "workers", "batch", "decode_ms", "augment_ms", "loader", "network", "device", "limit",
    }  # fmt: skip


def test_a_paper_s_recipe_and_lists_are_taken(run, street, tmp_path):
    (tmp_path / "train.txt").write_text("images/train/0000")
    words = ["--crop", "48", "--width", "0.125", "--seconds", "0.05", "--workers", "0", "--device", "cpu", "--json"]
    lists = ["--train-list", tmp_path / "train.txt", "--val-list", tmp_path / "none.txt"]
    code, _, error = run("bench-data", street, "--recipe", "unet_isbi", *words, *lists)
    assert (code, "none.txt" in error) == (2, True)
    code, out, error = run("bench-data", street, "--recipe", "unet_isbi", *words, *lists[:2])
    assert code == 0, error
    assert json.loads(out)["batch"] == 1
    code, _, error = run("bench-data", street, "--recipe", "unet_isby", *words)
    assert (code, "did you mean 'unet_isbi'?" in error) == (2, True)


def test_training_from_a_cache_is_the_same_training(street, tmp_path):
    plain = verbs.train(street, out=tmp_path / "plain", **TINY, device="cpu", workers=0)
    cached = verbs.train(street, out=tmp_path / "cached", **TINY, device="cpu", workers=0, cache=tmp_path / "cache")
    weights = [(run / "last" / "model.safetensors").read_bytes() for run in (plain, cached)]
    assert weights[0] == weights[1]


def test_refusals(run, street):
    with pytest.raises(ValueError, match="seconds 0 came; a time above 0 is accepted"):
        verbs.bench_data(street, **TINY, seconds=0)
    with pytest.raises(AtrousError, match="no such folder"):
        verbs.bench_data(street / "nowhere", **TINY)
    code, _, error = run("bench-data", street, "--cache-limit", "lots")
    assert (code, error.strip()) == (2, "atrous: --cache-limit lots: a size like 500MB or 16GB is accepted")


@pytest.mark.parametrize(
    ("text", "bytes_"), [("12", 12), ("2KB", 2000), ("2 kib", 2048), ("1.5GB", 1_500_000_000), ("3T", 3 * 10**12)]
)
def test_sizes(text, bytes_):
    assert flags.bytes_of(text) == bytes_


def test_fewer_than_no_workers_are_refused(street, tmp_path):
    with pytest.raises(ValueError, match=r"workers -2 came; 0 or more processes read images"):
        verbs.bench_data(street, **TINY, workers=-2, seconds=0.05)
    with pytest.raises(ValueError, match=r"workers -1 came; 0 or more processes read images"):
        verbs.train(street, out=tmp_path / "run", **TINY, device="cpu", workers=-1)
