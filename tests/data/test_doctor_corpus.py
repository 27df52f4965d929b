"""The doctor names the one defect of each broken set, by kind, file and remedy, and finds nothing in sound sets."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from atrous.data import inspect_dataset
from atrous.data.diagnosis import REMEDIES

_SPEC = spec_from_file_location("broken_sets", Path(__file__).with_name("broken_sets.py"))
sets = sys.modules["broken_sets"] = module_from_spec(_SPEC)  # tests are no package, so they import no neighbours
_SPEC.loader.exec_module(sets)
BROKEN, SOUND = sets.BROKEN, sets.SOUND


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
