from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narl.core.chance import most_by_luck


@given(st.integers(1, 99), st.integers(1, 100), st.integers(2, 1000))
def test_a_guess_exceeds_it_one_time_in_so_many_at_most_and_reaches_it_oftener(share, images, one_in):
    right = round(most_by_luck(share, images, one_in) * images / 100)
    p = Fraction(share, 100)

    def tail(least: int) -> Fraction:
        return sum(comb(images, k) * p**k * (1 - p) ** (images - k) for k in range(least, images + 1))

    rounding = Fraction(1, 10**9)
    assert tail(right + 1) - rounding <= Fraction(1, one_in) < tail(right) + rounding


def test_ten_thousand_images_leave_luck_little_and_one_class_leaves_nothing_to_read():
    assert most_by_luck(50.0, 10_000) == pytest.approx(51.16, abs=0.01)
    assert most_by_luck(100.0, 3) == 100


@pytest.mark.parametrize(("share", "images"), [(0.0, 10), (101.0, 10), (50.0, 0)])
def test_what_is_no_share_or_no_images_is_refused(share, images):
    with pytest.raises(ValueError, match="share must be above 0"):
        most_by_luck(share, images)
