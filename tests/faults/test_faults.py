"""Some faults of each class. tests/integration/test_faults.py has all others."""

import pytest

from tests.faults import tables
from tests.faults.campaign import Campaign
from tests.faults.fault import Skipped


@pytest.fixture(scope="module")
def campaign(dataset_dir, model_dir, tmp_path_factory):
    return Campaign(dataset_dir, model_dir, tmp_path_factory.mktemp("earlier"))


def test_titles_are_unique_and_those_of_the_fast_rows_exist():
    titles = [fault.title for fault in tables.FAULTS]
    assert len(set(titles)) == len(titles)
    assert set(titles) >= tables.FAST_NAMES


@pytest.mark.parametrize("fault", tables.FAST, ids=lambda fault: fault.title)
def test_fault(fault, campaign, tmp_path):
    try:
        campaign.attempt(fault, tmp_path)
    except Skipped as reason:
        pytest.skip(str(reason))
