"""The doctor names the one defect of each broken set, by kind, file and remedy, and finds nothing in sound sets."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

from atrous.data import inspect_dataset
from atrous.data.diagnosis import REMEDIES

sys.path.append(str(Path(__file__).parent))  # tests are no package, so they import no neighbours
_BROKEN, _SOUND = import_module("broken_sets"), import_module("sound_sets")
BROKEN, SOUND = _BROKEN.BROKEN, _SOUND.SOUND


@pytest.mark.parametrize("name", SOUND)
def test_no_false_alarm(tmp_path, name):
    sound = SOUND[name]
    sound.make(tmp_path)
    report = inspect_dataset(tmp_path, **sound.options)
    assert report.findings == (), report.as_text()
    assert report.encoding == sound.encoding
    assert report.images
    assert report.classes


@pytest.mark.parametrize("name", BROKEN)
def test_one_defect_is_one_finding(tmp_path, name):
    broken = BROKEN[name]
    broken.make(tmp_path)
    report = inspect_dataset(tmp_path, **broken.options)
    assert [finding.kind for finding in report.findings] == [broken.kind], report.as_text()
    (finding,) = report.findings
    assert (finding.files, finding.count) == (broken.files[:20], len(broken.files))
    assert broken.remedy in finding.remedy
    assert finding.remedy in report.as_text()
    assert len(finding.details) == len(finding.files)
    assert all(detail.startswith(file) for detail, file in zip(finding.details, finding.files, strict=True))
    assert any(broken.told in detail for detail in finding.details), finding.details


def test_the_corpus_is_large_enough_and_every_kind_has_a_remedy():
    assert len(BROKEN) >= 30
    assert len(SOUND) >= 12
    assert {broken.kind for broken in BROKEN.values()} <= set(REMEDIES)
