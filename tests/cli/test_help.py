"""What `--help` lists is what there is."""

from __future__ import annotations

import pytest

import narl
from narl.attacks.catalogue import ATTACKS
from narl.cli.main import main


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_every_attack_is_listed(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"some of {','.join(ATTACKS)} (default: " in capsys.readouterr().out
    assert f"attacks: some of {', '.join(ATTACKS)}." in narl.evaluate.__doc__
