"""What /openapi.json says is true: every answer to whatever may be sent has a status, a type and a shape it names."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from tests.web.shop import Shop

ROUTES = ["/checkout/{token}/open", "/payments/complete", "/payments/confirm"]


def test_every_route_that_speaks_json_is_described_and_no_page_is(quick: Shop) -> None:
    assert sorted(quick.client.get("/openapi.json").json()["paths"]) == ROUTES


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("route", ROUTES)
def test_no_request_finds_an_answer_that_is_not_described(quick: Shop, route: str, mode: GenerationMode) -> None:
    operation = schemathesis.openapi.from_asgi("/openapi.json", quick.client.app)[route]["POST"]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=25, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def described(case: schemathesis.Case) -> None:
        quick.world.later(minutes=1)  # or it would soon be told not to ask so often
        case.call_and_validate()

    described()
