"""Tables of Hugging Face's datasets: written by that package, read without it, and broken in every way."""

import contextlib
import io
import json
import pickle
import sys

import numpy as np
import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import open_dataset, read_sample
from atrous.data.layouts import hugging_face, recognise
from atrous.data.rows import Row


def noise(*shape, high=256, seed=0):
    return np.random.default_rng(seed).integers(0, high, shape, dtype=np.uint8)


def encoded(array, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


IMAGES = [noise(8, 9, 3, seed=seed) for seed in range(6)]
LABELS = [noise(8, 9, high=3, seed=seed) for seed in range(6)]


def table(names=("image", "label"), labels=LABELS, rows=range(6)):
    return pyarrow.table(
        {
            names[0]: [{"bytes": encoded(IMAGES[row]), "path": f"{row}.png"} for row in rows],
            names[1]: [
                None if labels[row] is None else {"bytes": encoded(labels[row]), "path": f"{row}.png"} for row in rows
            ],
        }
    )


def saved_to_disk(root, splits, column="label"):
    datasets = pytest.importorskip("datasets")
    pictures = datasets.Features({"image": datasets.Image(), column: datasets.Image()})
    made = {
        split: datasets.Dataset.from_dict(
            {"image": [{"bytes": encoded(IMAGES[row]), "path": None} for row in rows],
             column: [{"bytes": encoded(LABELS[row]), "path": None} for row in rows]}, features=pictures,
        )
        for split, rows in splits.items()
    }  # fmt: skip
    datasets.DatasetDict(made).save_to_disk(
        str(root), num_shards={split: min(2, len(rows)) for split, rows in splits.items()}
    )
    return root


def samples(dataset):
    return {pair.name: read_sample(pair, dataset.space) for pairs in dataset.splits.values() for pair in pairs}


def test_saved_to_disk(tmp_path):
    dataset = open_dataset(saved_to_disk(tmp_path / "d", {"train": range(4), "validation": [4], "test": [5]}))
    assert (dataset.layout, dataset.made_split, len(dataset.space)) == ("hugging-face", False, 3)
    found = samples(dataset)
    assert sorted(found) == [
        "test/000000",
        "train/000000",
        "train/000001",
        "train/000002",
        "train/000003",
        "val/000000",
    ]
    for row in range(4):
        np.testing.assert_array_equal(found[f"train/{row:06d}"].image, IMAGES[row])
        np.testing.assert_array_equal(found[f"train/{row:06d}"].labels, LABELS[row])
    part = dataset.splits["train"][0].mask
    assert pickle.loads(pickle.dumps(part)) == part
    assert hash(part) == hash(pickle.loads(pickle.dumps(part)))


def test_one_split_saved_to_disk(tmp_path):
    saved_to_disk(tmp_path / "d", {"train": range(3)}, column="something")
    dataset = open_dataset(tmp_path / "d" / "train")
    assert dataset.layout == "hugging-face"
    np.testing.assert_array_equal(samples(dataset)["train/000001"].labels, LABELS[1])


@pytest.mark.parametrize("names", [("image", "annotation"), ("pixel_values", "label"), ("img", "mask"), ("image", "x")])
@pytest.mark.parametrize(
    ("train", "val"),
    [("data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet"), ("train.parquet", "val.parquet"),
     ("default/train/0000.parquet", "default/validation/0000.parquet")],
)  # fmt: skip
def test_parquet(tmp_path, names, train, val):
    for path, rows in ((train, range(4)), (val, range(4, 6))):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table(names, rows=rows), tmp_path / path, row_group_size=3)
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, {split: len(pairs) for split, pairs in dataset.splits.items()}) == (
        "hugging-face", {"train": 4, "val": 2},
    )  # fmt: skip
    found = samples(dataset)
    for row in range(4):
        np.testing.assert_array_equal(found[f"train/{row:06d}"].labels, LABELS[row])
    np.testing.assert_array_equal(found["val/000001"].image, IMAGES[5])


def test_lists_of_numbers_are_masks(tmp_path):
    made = table().set_column(1, "label", pyarrow.array([labels.tolist() for labels in LABELS]))
    pyarrow.parquet.write_table(made, tmp_path / "train.parquet")
    np.testing.assert_array_equal(samples(open_dataset(tmp_path))["train/000002"].labels, LABELS[2])


def test_names_of_classes(tmp_path):
    pyarrow.parquet.write_table(table(), tmp_path / "train.parquet")
    (tmp_path / "id2label.json").write_text(
        '\ufeff{"2": "sky", "0": "road", "1": "자동차", "255": "void"}', encoding="utf-8"
    )
    space = open_dataset(tmp_path).space
    assert (space.names, space.values, space.ignore) == (("road", "자동차", "sky"), (0, 1, 2), 255)
    for text in ("[]", "{", '{"a": "b"}', '{"0": "a", "1": "a"}', "{}"):
        (tmp_path / "id2label.json").write_text(text)
        (problem,) = recognise(tmp_path).problems
        assert (problem.kind, problem.path.name) == ("broken-annotation", "id2label.json")


def test_rows_without_mask(tmp_path):
    labels = [None, *LABELS[1:]]
    pyarrow.parquet.write_table(table(labels=labels), tmp_path / "train-00000.parquet")
    pyarrow.parquet.write_table(table(labels=labels), tmp_path / "test-00000.parquet")
    found = recognise(tmp_path)
    assert len(found.splits["train"].pairs) == 5
    assert found.splits["test"].pairs[0].mask is None
    (problem,) = found.problems
    assert (problem.kind, problem.detail) == ("image-without-mask", "row 0 has no label")


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ({"bytes": b"these are words", "path": None}, r"train.parquet, row 0, label: this is not an image"),
        ({"bytes": encoded(LABELS[0])[:60], "path": None}, r"row 0, label: the image is truncated or damaged"),
        ({"bytes": encoded(LABELS[0], "JPEG"), "path": None}, r"row 0, label: this mask is a JPEG"),
        ({"bytes": None, "path": None}, r"row 0, label: nothing came, and an image is wanted"),
        ({"bytes": None, "path": "/etc/hostname"}, r"the row names the file /etc/hostname and does not hold it"),
        ({"bytes": None, "path": "gone.png"}, r"names the file gone.png and does not hold it, and it is not below"),
    ],
)
def test_broken_cells(tmp_path, cell, words):
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    made = table(rows=[0]).set_column(1, "label", pyarrow.array([cell], kind))
    pyarrow.parquet.write_table(made, tmp_path / "train.parquet")
    with pytest.raises(AtrousError, match=words):
        Row(tmp_path / "train.parquet", 0, "label", masks=True).read()


def test_files_beside_the_table(tmp_path):
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    Image.fromarray(LABELS[0]).save(tmp_path / "a mask.png")
    made = table(rows=[0]).set_column(1, "label", pyarrow.array([{"bytes": None, "path": "a mask.png"}], kind))
    pyarrow.parquet.write_table(made, tmp_path / "train.parquet")
    np.testing.assert_array_equal(Row(tmp_path / "train.parquet", 0, "label", masks=True).read(), LABELS[0])


def test_damaged_tables(tmp_path):
    pyarrow.parquet.write_table(table(), tmp_path / "train.parquet")
    data = (tmp_path / "train.parquet").read_bytes()
    (tmp_path / "train.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(AtrousError, match=r"train.parquet: the table is truncated or damaged .*Copy it again"):
        recognise(tmp_path)
    root = saved_to_disk(tmp_path / "d", {"train": range(2)})
    arrow = sorted((root / "train").glob("*.arrow"))[0]
    arrow.write_bytes(arrow.read_bytes()[:300])
    with pytest.raises(AtrousError, match=r"\.arrow: the table is truncated or damaged"):
        recognise(root)
    arrow.unlink()
    with pytest.raises(AtrousError, match=r"state.json: the table data-.*arrow that it lists is not beside it"):
        recognise(root)
    for text in ("{}", "[]", '{"_data_files": 3}', '{"_data_files": [{"filename": 3}]}'):
        (root / "train" / "state.json").write_text(text)
        with pytest.raises(AtrousError, match=r"state.json: it does not list the files"):
            recognise(root)
    (root / "train" / "state.json").write_text("{")
    with pytest.raises(AtrousError, match=r"state.json: this is not JSON"):
        recognise(root)


def test_no_damage_of_an_arrow_file_ends_the_process(tmp_path):
    """Arrow believes the places in a mapped file, also those beyond its end."""
    buffer = io.BytesIO()
    with pyarrow.ipc.new_stream(buffer, table(rows=range(3)).schema) as writer:
        writer.write_table(table(rows=range(3)))
    whole, generator = buffer.getvalue(), np.random.default_rng(0)
    for turn in range(60):
        broken = bytearray(whole)
        for place in generator.integers(0, len(whole), 5):
            broken[place] = generator.choice([0, 127, 255])
        path = tmp_path / f"{turn}.arrow"
        path.write_bytes(broken)
        with contextlib.suppress(AtrousError):
            Row(path, 1, "label", masks=True).read()


def test_a_row_that_is_no_longer_there(tmp_path):
    pyarrow.parquet.write_table(table(), tmp_path / "train.parquet")
    with pytest.raises(AtrousError, match="it has no row"):
        Row(tmp_path / "train.parquet", 7, "image").read()
    with pytest.raises(AtrousError, match="truncated or damaged"):
        Row(tmp_path / "train.parquet", 0, "gone").read()


def test_other_tables_and_folders_are_not_ours(tmp_path):
    assert hugging_face.recognise(tmp_path) is None
    pyarrow.parquet.write_table(pyarrow.table({"a": [1], "b": ["x"]}), tmp_path / "train.parquet")
    assert hugging_face.recognise(tmp_path) is None
    root = saved_to_disk(tmp_path / "d", {"train": range(2)})
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["other"]}))
    (root / "train").rename(root / "other")
    with pytest.raises(AtrousError, match=r"dataset_dict\.json is there and no split with it"):
        recognise(root)


def test_a_stray_table_does_not_hide_a_folder_of_images(tmp_path):
    for kind, arrays in (("images", IMAGES), ("masks", LABELS)):
        (tmp_path / kind).mkdir()
        for row in range(3):
            Image.fromarray(arrays[row]).save(tmp_path / kind / f"{row}.png")
    (tmp_path / "facts.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.parquet").write_bytes(b"")
    assert recognise(tmp_path).layout == "folders"


def test_words_where_pyarrow_is_missing(tmp_path, monkeypatch):
    pyarrow.parquet.write_table(table(), tmp_path / "train.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(AtrousError, match=r'train.parquet: tables need datasets: pip install "atrous\[formats\]"'):
        recognise(tmp_path)


def test_tables_without_a_mask_column_list_their_columns(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["a"], "label": [1]})}).save_to_disk(
        str(tmp_path / "d")
    )
    with pytest.raises(
        AtrousError, match="the columns text, label came, and one of images and one of masks are wanted"
    ):
        recognise(tmp_path / "d")


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_images_with_metadata(tmp_path, suffix):
    for split in ("train", "validation"):
        folder = tmp_path / split
        (folder / "masks").mkdir(parents=True)
        names = ["a b", "한국어"]
        for row, name in enumerate(names):
            Image.fromarray(IMAGES[row]).save(folder / f"{name}.png")
            Image.fromarray(LABELS[row]).save(folder / "masks" / f"{name}.png")
        entries = [{"file_name": f"{name}.png", "mask_file_name": f"masks/{name}.png"} for name in [*names, "gone"]]
        if suffix == "csv":
            lines = ["file_name,mask_file_name", *(",".join(entry.values()) for entry in entries)]
        else:
            lines = [*map(json.dumps, entries), "no json", "[]", '{"file_name": 3, "mask_file_name": null}', ""]
        (folder / f"metadata.{suffix}").write_text("\n".join(lines), encoding="utf-8")
    found = recognise(tmp_path)
    assert found.layout == "hugging-face"
    assert {split: len(matched.pairs) for split, matched in found.splits.items()} == {"train": 2, "val": 2}
    kinds = [problem.kind for problem in found.problems]
    assert kinds.count("listed-missing") == 2
    assert kinds.count("broken-annotation") == (4 if suffix == "jsonl" else 0)
    np.testing.assert_array_equal(samples(open_dataset(tmp_path))["train/한국어"].labels, LABELS[1])


def test_rows_left_out_of_one_shard_do_not_repeat_names(tmp_path):
    for shard, labels in enumerate(([None, *LABELS[1:]], LABELS)):
        made = table(labels=labels, rows=range(3 * shard, 3 * shard + 3))
        pyarrow.parquet.write_table(made, tmp_path / f"train-0000{shard}-of-00002.parquet")
    found = samples(open_dataset(tmp_path))
    assert sorted(found) == [f"train/{row:06d}" for row in range(1, 6)]
    for row in range(1, 6):
        np.testing.assert_array_equal(found[f"train/{row:06d}"].image, IMAGES[row])


def test_names_in_metadata_that_no_file_can_have(tmp_path):
    names = ["x" * 400, "/etc/hostname", "../a.png", "a\0b", "gone.png"]
    (tmp_path / "train").mkdir()
    for name in ("a.png", "a_mask.png"):
        Image.fromarray(IMAGES[0] if name == "a.png" else LABELS[0]).save(tmp_path / "train" / name)
    entries = [{"file_name": "a.png", "mask_file_name": "a_mask.png"}]
    entries += [{"file_name": "a.png", "mask_file_name": name} for name in names]
    entries += [{"file_name": name, "mask_file_name": "a_mask.png"} for name in names]
    (tmp_path / "train" / "metadata.jsonl").write_text("\n".join(map(json.dumps, entries)))
    found = recognise(tmp_path)
    assert [pair.name for pair in found.splits["train"].pairs] == ["train/a"]
    assert [problem.kind for problem in found.problems] == ["listed-missing"] * 10
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    for name in names:
        made = table(rows=[0]).set_column(1, "label", pyarrow.array([{"bytes": None, "path": name}], kind))
        pyarrow.parquet.write_table(made, tmp_path / "t.parquet")
        with pytest.raises(AtrousError, match="and does not hold it, and it is not below"):
            Row(tmp_path / "t.parquet", 0, "label", masks=True).read()
