"""A checkpoint comes back as it went in, or not at all."""

import errno

import pytest
import torch
from torch import nn

from slimgen.training import checkpoint
from slimgen.training.checkpoint import LAST, Values, load_checkpoint, save_checkpoint


def a_state():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.5, 0.9))
    network(torch.randn(2, 1, 5, 5)).square().mean().backward()
    optimizer.step()
    values = Values(p=0.25, window=[1.0, 2.5], name="x", nothing=None)
    return {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "values": values.state_dict(),
        "seconds": 1.5,
    }


def assert_equal_trees(a, b):
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_equal_trees(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal_trees(x, y)
    else:
        assert a == b


def test_round_trip_of_nested_state(tmp_path):
    state = a_state()
    save_checkpoint(tmp_path, 7, state)
    step, loaded = load_checkpoint(tmp_path)
    assert step == 7
    assert_equal_trees(state, loaded)


def test_no_checkpoint_is_none(tmp_path):
    assert load_checkpoint(tmp_path) is None


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_last_checkpoint_falls_back_to_the_previous_one(tmp_path, damage, capsys):
    save_checkpoint(tmp_path, 1, a_state())
    save_checkpoint(tmp_path, 2, a_state())
    last = tmp_path / LAST
    content = bytearray(last.read_bytes())
    if damage == "truncate":
        content = content[:-100]
    elif damage == "flip":
        content[-5] ^= 1
    else:
        content = bytearray()
    last.write_bytes(content)
    step, _ = load_checkpoint(tmp_path)
    assert step == 1
    assert str(last) in capsys.readouterr().err


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, a_state())

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, 2, a_state())
    monkeypatch.undo()
    assert load_checkpoint(tmp_path)[0] == 1
    assert [path.name for path in tmp_path.iterdir()] == [LAST]


def test_nothing_is_pickled(tmp_path):
    with pytest.raises(TypeError):
        save_checkpoint(tmp_path, 1, {"object": object()})
