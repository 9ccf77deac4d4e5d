"""Labels for texts that have none: they spread over what lies near. Needs no torch."""

import numpy as np
import pytest

from frontdesk.errors import BadInput
from frontdesk.training.unlabelled import guess, label_names


def arc(degrees: list[float]) -> np.ndarray:
    """Vectors on a quarter of a circle, one block."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1).astype(np.float32)[:, None, :]


def test_a_label_goes_on_from_text_to_text() -> None:
    train = [("stand still", "one"), ("go away", "two")]
    # A chain of near texts leads from the first label more than half the way to the second, which stands alone.
    chain = [float(d) for d in range(3, 60, 3)]
    others = [f"text {n}" for n in range(len(chain))]
    chances = guess(train, others, [arc([0.0, 90.0, *chain])])
    assert chances.shape == (len(chain), 2)
    assert chances.sum(axis=1) == pytest.approx(1)
    assert label_names(train) == ["one", "two"]
    assert {int(row.argmax()) for row in chances} == {0}, "57 of 90 degrees: nearer to the other label, but joined to this one"


def test_two_spaces_are_taken_together() -> None:
    train = [("stand still", "one"), ("go away", "two")]
    plain = arc([0.0, 90.0, 20.0, 30.0])
    apart = arc([0.0, 90.0, 80.0, 85.0])
    assert guess(train, ["a", "b"], [plain, apart])[0].argmax() == 1
    assert guess(train, ["a", "b"], [plain])[0].argmax() == 0


def test_nothing_to_guess_from_is_said() -> None:
    with pytest.raises(BadInput, match="two labels"):
        guess([("stand still", "one")], ["a"], [arc([0.0, 5.0])])
    with pytest.raises(BadInput, match="without a label"):
        guess([("stand still", "one"), ("go away", "two")], [], [arc([0.0, 90.0])])
