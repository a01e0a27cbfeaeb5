"""What is written outside an image."""

from __future__ import annotations

import numpy as np
import pytest

from pddnet.core.hounsfield import outside_value


@pytest.mark.parametrize(
    ("values", "expected"),
    [([-3000, 40], -1024.0), ([7, 300], 7.0), ([np.nan, 1.5, 2.0], 1.5), ([np.nan, -2000.0], -1024.0), ([0], 0.0)],
)
def test_it_is_air_or_the_lowest_value_where_that_is_higher(values: list[float], expected: float) -> None:
    assert outside_value(np.array(values)) == expected
