"""CT windows: named values come out as the shares of grey that the windows say."""

import numpy as np
import pytest

from medprm.errors import InputError
from medprm.images.ct_windows import CT_WINDOWS, check_windows, parse_window
from medprm.images.hounsfield import render_windows


@pytest.mark.parametrize("name", sorted(CT_WINDOWS))
def test_ends_and_middle_of_every_window(name: str) -> None:
    center, width = CT_WINDOWS[name]
    values = np.array([[center - width, center - width / 2, center, center + width / 2, center + width]])
    assert render_windows(values, (name,))[0].tolist() == pytest.approx([0, 0, 128, 255, 255], abs=3)


def test_three_windows_are_three_channels_and_padding_is_black() -> None:
    values = np.array([[-600.0, 50.0, 400.0, 3000.0]])
    padding = np.array([[False, False, False, True]])
    pixels = render_windows(values, ("lung", "50/400", "bone"), padding)
    assert pixels.shape == (1, 4, 3)
    for channel, name in enumerate(("lung", "soft_tissue", "bone")):
        assert pixels[0, :3, channel].tolist() == render_windows(values, (name,))[0, :3].tolist()
    assert pixels[0, 3].tolist() == [0, 0, 0]


def test_what_is_no_window_is_refused() -> None:
    for text in ("lungs", "40", "40/", "/40", "40/0", "nan/40", "40/inf", "a/b"):
        with pytest.raises(InputError, match=f"window '{text}'; expected lung"):
            parse_window(text)
    with pytest.raises(InputError, match="2 windows"):
        check_windows(("lung", "bone"))
    check_windows(())
