"""Settings that do not fit: the error says which, and neither it nor what it came from holds a value."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from billing.app import Billing
from billing.errors import SettingsError
from billing.settings import Settings
from tests.leak.kit.canaries import Canaries, Matcher
from tests.leak.kit.sinks import about

C = Canaries()
SECRETS = {
    "imp_key": C.key,
    "imp_secret": C.secret,
    "instance_secret": C.instance,
    "database_url": f"postgresql://u:{C.password}@127.0.0.1:1/d",
}
WRONG: list[dict[str, object]] = [
    {"mode": "play"},
    {"mode": "live", "faults": "K01=kill"},
    {"mode": "live", "imp_secret": ""},
    {"mode": "test", "imp_key": ""},
    {"mode": "live", "gateway_url": "http://pg"},
    {"gateway_url": f"ftp://{C.password}"},
    {"gateway_url": f"http://u:{C.password}@pg"},
    {"gateway_url": f"http://pg/?token={C.secret}"},
    {"instance_secret": C.instance[:10]},
    {"webhook_secret": f"{C.secret} {C.secret}"},
    {"imp_secret": [C.secret]},
    {"imp_key": {C.key: C.secret}},
    {"database_url": 5},
    {"pg": C.secret},
    {"channels": f"live/pay={C.secret}"},
    {"channels": f"live/pay/{C.secret}=kcp"},
    {"public_url": f"https://u:{C.password}@shop.example"},
    {"public_url": f"https://shop.example/?token={C.secret}"},
    {"merchant_code": C.secret},
    {"charge_hours": C.secret},
    {"dunning_days": C.secret},
    {"time_zone": C.secret},
    {"concurrency": C.secret},
    {"lease_seconds": 1},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: ",".join(wrong))
def test_settings_that_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(_env_file=None, **(SECRETS | wrong))
    assert caught.value.__context__ is None
    assert Matcher(C).found(about(caught.value)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"database_url": f"oracle://u:{C.password}@h/d"},
        {"sandbox_faults": "gremlins"},
        {"faults": "K99"},
    ],
)
def test_an_engine_that_cannot_be_built(wrong: dict[str, str], tmp_path: Path) -> None:
    given = {**SECRETS, "sandbox_file": tmp_path / "pg.db", **wrong}
    secret = {name: SecretStr(str(value)) if name in SECRETS else value for name, value in given.items()}
    settings = Settings(_env_file=None, **secret)  # type: ignore[arg-type]
    with pytest.raises(SettingsError) as caught:
        Billing(settings)
    assert Matcher(C).found(about(caught.value)) == []
