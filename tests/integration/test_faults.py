"""Faults on purpose: all rows of all tables but those in tests/faults/test_faults.py.

With FAULTS_LOG=FILE in the environment, `python -m tests.faults.campaign FILE` prints how many were survived.
"""

import pytest

from tests.faults import tables
from tests.faults.fault import Skipped
from tests.faults.test_faults import campaign  # noqa: F401


@pytest.mark.parametrize("fault", tables.SLOW, ids=lambda fault: fault.title)
def test_fault(fault, campaign, tmp_path):  # noqa: F811
    try:
        campaign.attempt(fault, tmp_path)
    except Skipped as reason:
        pytest.skip(str(reason))
