"""A video in, masks and an overlay video out."""

import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError, LabelSpace
from atrous.prediction.films import Frames
from atrous.prediction.memory import peak
from atrous.prediction.sources import Source
from atrous.prediction.video import predict_frames, predict_video
from atrous.prediction.wanted import Wanted

sys.path.append(str(Path(__file__).parent))  # tests are no package, so they import no neighbours
from films_made import film, frames_of, uneven, with_index_first

SPACE = LabelSpace(names=("dark", "light"), colours=((0, 0, 90), (200, 200, 0)))


def bright(images):
    light = images[:, 0].astype(np.float32) / 255
    return np.stack([1 - light, light], 1)


def source(path):
    return Source(path, path.stem, "video")


def files_below(out):
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def test_masks_of_every_frame_and_an_overlay_of_the_same_rate(tmp_path):
    path, out, seen = film(tmp_path / "a.mp4", 6, size=(96, 128), rate=12.5), tmp_path / "out", []
    paths = predict_video(source(path), bright, SPACE, out, Wanted(), progress=lambda *done: seen.append(done))
    assert files_below(out) == [*(f"masks/a/{n:06d}.png" for n in range(6)), "overlays/a.mp4"]
    assert sorted(paths) == sorted(out / name for name in files_below(out))
    assert seen == [(n, 6) for n in range(1, 7)]
    for number, frame in enumerate(frames_of(path)):
        with Image.open(out / f"masks/a/{number:06d}.png") as mask:
            np.testing.assert_array_equal(np.array(mask), frame[..., 0] > 127)
    overlays = frames_of(out / "overlays" / "a.mp4")
    assert len(overlays) == 6
    assert len({frame.shape for frame in overlays}) == 1
    assert overlays[0].shape[1] == 128
    legend = np.array([frame[98:] for frame in overlays]).astype(int)
    assert overlays[0].shape[0] > 110
    assert np.abs(legend - legend[0]).max() < 40  # the same names below every frame
    np.testing.assert_allclose(overlays[0][40, 40], (0, 0, 45), atol=12)


def test_a_legend_that_would_be_larger_than_the_picture_is_left_out(tmp_path):
    many = LabelSpace(names=tuple(f"class {n}" for n in range(40)))
    path = film(tmp_path / "a.mp4", 2, size=(96, 128))
    predict_video(
        source(path), lambda images: np.ones((1, 40, 96, 128), np.float32), many, tmp_path, Wanted(save=("overlays",))
    )
    assert frames_of(tmp_path / "overlays" / "a.mp4")[0].shape == (96, 128, 3)
    assert files_below(tmp_path) == ["a.mp4", "overlays/a.mp4"]


def test_every_other_kind_is_a_folder_of_frames(tmp_path):
    path = film(tmp_path / "a.mp4", 2)
    save = ("probabilities", "polygons", "coco", "cutouts", "statistics")
    paths = predict_video(source(path), bright, SPACE, tmp_path / "out", Wanted(save=save))
    found = files_below(tmp_path / "out")
    assert [re.sub(r"\.\w+$", "", name) for name in found] == [
        f"{kind}/a/{n:06d}" for kind in sorted(save) for n in range(2)
    ]
    assert len(paths) == 10


@pytest.mark.parametrize("size", [(25, 33), (2, 64), (34, 2)])
def test_odd_sizes(tmp_path, size):
    noise = np.random.default_rng(0).integers(0, 255, (3, *size, 3), dtype=np.uint8)
    _, count = predict_frames(Frames(noise, 25.0, 3), "a", bright, SPACE, tmp_path, Wanted())
    with Image.open(tmp_path / "masks/a/000002.png") as mask:
        np.testing.assert_array_equal(np.array(mask), noise[2, ..., 0] > 127)
    overlays = frames_of(tmp_path / "overlays/a.mp4")
    assert len(overlays) == count == 3
    assert overlays[0].shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)


def test_a_video_that_breaks_off_keeps_what_was_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), dtype=np.uint8)
    path = with_index_first(film(tmp_path / "a.mp4", 12, size=(64, 64), pictures=noise))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    words = (
        r"a.mp4: the video breaks off: frame (\d) and those after it, of 12, cannot be decoded; the file ends [\d,]+"
    )
    with pytest.raises(AtrousError, match=words + r" bytes early. What comes before is predicted") as raised:
        predict_video(source(path), bright, SPACE, tmp_path / "out", Wanted())
    count = int(re.search(r"frame (\d)", str(raised.value))[1])
    assert 4 < count < 12
    assert files_below(tmp_path / "out") == [*(f"masks/a/{n:06d}.png" for n in range(count)), "overlays/a.mp4"]
    assert len(frames_of(tmp_path / "out/overlays/a.mp4")) == count


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_other_formats_that_break_off(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), dtype=np.uint8)
    path = film(tmp_path / f"a{suffix}", 20, size=(64, 64), codec="MJPG", pictures=noise)
    data, wanted = path.read_bytes(), Wanted(save=("masks",))
    assert len(predict_video(source(path), bright, SPACE, tmp_path / "whole", wanted)) == 20
    path.write_bytes(data[: len(data) * 92 // 100])
    with pytest.raises(AtrousError, match=r"the video breaks off: frame 1\d and those after it, of 20, .*bytes early"):
        predict_video(source(path), bright, SPACE, tmp_path / "cut", wanted)


def test_fewer_frames_than_announced_in_a_format_that_does_not_tell(tmp_path, monkeypatch):
    monkeypatch.setattr("atrous.prediction.video.missing_bytes", lambda path: 0)
    path = film(tmp_path / "a.mkv", 20, size=(64, 64), codec="MJPG")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(AtrousError, match=r"a.mkv: the video breaks off: frame \d+ .*, of 20, cannot be decoded. What"):
        predict_video(source(path), bright, SPACE, tmp_path / "out", Wanted(save=("masks",)))


def test_a_video_cut_before_its_index_and_one_without_frames(tmp_path):
    path = film(tmp_path / "a.mp4", 12)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(AtrousError, match=r"a.mp4: this video cannot be opened; it ends [\d,]+ bytes early"):
        predict_video(source(path), bright, SPACE, tmp_path / "out", Wanted())
    path = with_index_first(film(tmp_path / "b.mp4", 4))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 4])
    with pytest.raises(
        AtrousError, match=r"b.mp4: (no frame of this video can be decoded|this video cannot be opened)"
    ):
        predict_video(source(path), bright, SPACE, tmp_path / "out", Wanted())
    assert not (tmp_path / "out").exists()


def test_frames_that_an_edit_list_hides_are_no_failure(tmp_path, caplog):
    path = uneven(film(tmp_path / "a.mp4", 10))
    path.write_bytes(path.read_bytes().replace(b"free\0\0\0\x1celst", b"edts\0\0\0\x1celst"))
    paths = predict_video(source(path), bright, SPACE, tmp_path / "out", Wanted(save=("masks",)))
    assert len(paths) < 10
    assert f"a.mp4: {len(paths)} frames came and 10 were announced; an edit list may hide the others" in caplog.text


def test_a_shorter_video_of_the_same_name_leaves_no_old_frames(tmp_path):
    out = tmp_path / "out"
    predict_video(source(film(tmp_path / "a.mp4", 5)), bright, SPACE, out, Wanted())
    (out / "masks" / "a" / "notes.txt").write_text("mine")
    (out / "masks" / "a" / "12.png").write_text("mine")
    predict_video(source(film(tmp_path / "a.mp4", 3)), bright, SPACE, out, Wanted())
    frames = [f"masks/a/{n:06d}.png" for n in range(3)]
    assert files_below(out) == [*frames, "masks/a/12.png", "masks/a/notes.txt", "overlays/a.mp4"]


def test_repeated_after_an_end_in_the_middle_it_gives_the_same_files(tmp_path):
    path, out, whole = film(tmp_path / "a.mp4", 6), tmp_path / "out", tmp_path / "whole"

    def dies(images, seen=[]):  # noqa: B006  (counts its calls)
        seen.append(1)
        if len(seen) > 3:
            raise KeyboardInterrupt
        return bright(images)

    with pytest.raises(KeyboardInterrupt):
        predict_video(source(path), dies, SPACE, out, Wanted())
    assert files_below(out) == [f"masks/a/{n:06d}.png" for n in range(3)]
    for folder in (out, whole):
        predict_video(source(path), bright, SPACE, folder, Wanted())
    assert files_below(out) == files_below(whole)
    for name in files_below(whole):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_smoothing_holds_labels_that_flicker(tmp_path):
    grey = [100, 140, 100, 140, 100, 140]
    frames = [np.full((8, 8, 3), level, np.uint8) for level in grey]

    def labels(smoothing):
        wanted = Wanted(save=("masks",), smoothing=smoothing)
        predict_frames(Frames(frames, 5.0), "a", bright, SPACE, tmp_path, wanted)
        return [int(np.array(Image.open(tmp_path / f"masks/a/{n:06d}.png"))[0, 0]) for n in range(6)]

    assert labels(0.0) == [0, 1, 0, 1, 0, 1]
    assert labels(0.8) == [0, 0, 0, 0, 0, 0]


def test_a_limit_of_memory(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (3, 40, 56, 3), dtype=np.uint8)

    def predict(**wanted):
        return predict_frames(Frames(noise, 5.0), "a", bright, SPACE, tmp_path, Wanted(**wanted))

    _, count = predict(max_memory=peak() + 500_000_000)
    for number in range(count):
        with Image.open(tmp_path / f"masks/a/{number:06d}.png") as mask:
            np.testing.assert_array_equal(np.array(mask), noise[number, ..., 0] > 127)
    words = r"a limit of 1MB cannot hold the probabilities of a frame of 40 x 56 pixels and 2 classes: \d+MB are needed"
    with pytest.raises(AtrousError, match=words):
        predict(max_memory=1_000_000, smoothing=0.5)
    assert predict(max_memory=peak() + 500_000_000, smoothing=0.5)[1] == 3


def test_a_disk_that_refuses_is_said(tmp_path):
    (tmp_path / "masks").write_text("a file where a folder is wanted")
    path = film(tmp_path / "a.mp4", 2)
    with pytest.raises(AtrousError, match=r"000000.png: could not be written"):
        predict_video(source(path), bright, SPACE, tmp_path, Wanted())
    assert not (tmp_path / "overlays" / "a.mp4").exists()


def test_a_real_video(data_dir, tmp_path):
    from atrous.prediction.films import opened_film

    with opened_film(data_dir / "video" / "solidWhiteRight.mp4") as found:
        pictures = [frame for frame, _ in zip(found.pictures, range(4), strict=False)]
    assert (found.rate, found.count, pictures[0].shape) == (25.0, 221, (540, 960, 3))
    predict_frames(Frames(pictures, found.rate, 4), "a", bright, SPACE, tmp_path, Wanted())
    overlays = frames_of(tmp_path / "overlays" / "a.mp4")
    assert len(overlays) == 4
    assert overlays[0].shape[0] > 540


def test_nothing_is_decoded_any_more_once_an_error_has_come_out(tmp_path):
    """A film is closed then, and OpenCV ends the process where another thread still decodes it."""
    decoding = []

    def pictures():
        for number in range(20):
            decoding.append(number)
            time.sleep(0.03)
            decoding.remove(number)
            yield np.zeros((8, 8, 3), np.uint8)

    def told_of(*_):
        raise ValueError("no more")

    wanted = Wanted(save=("masks",))
    with pytest.raises(ValueError, match="no more") as told:
        predict_frames(Frames(pictures()), "a", bright, SPACE, tmp_path, wanted, progress=told_of)
    assert told.value.__traceback__ is not None  # which keeps all frames of the program alive
    assert decoding == []
