"""One way to have somebody forgotten for every door: the JSON endpoints and the pages look, record and ask the same."""

from __future__ import annotations

from pipeline.audit import AuditAction
from pipeline.contracts import GlobalId
from pipeline.forgetting import ErasureRequest, Found, Receipt
from services.api.dependencies import ApiDependencies
from services.api.problems import Missing
from services.erasing import audited, request_erasure


def rehearse(deps: ApiDependencies, request: ErasureRequest) -> Found:
    """How much there is of somebody; that it was asked is recorded. Raises `InvalidQuery`."""
    return _looked_up(deps, request, is_rehearsal=True)


def erase(deps: ApiDependencies, request: ErasureRequest) -> Receipt:
    """Forget somebody everywhere and for good; the matcher does it within seconds. Raises `InvalidQuery`."""
    return request_erasure(deps.forgetting, request, _looked_up(deps, request, is_rehearsal=False), deps.clock.now())


def asked_for(deps: ApiDependencies, global_id: int, made_by: str | None, why: str) -> ErasureRequest:
    """The request of whoever calls. Raises `InvalidQuery`."""
    return ErasureRequest(GlobalId(global_id), deps.maker(made_by), why)


def known_receipt(deps: ApiDependencies, number: int) -> Receipt:
    """How far an erasure has come. Raises `Missing`."""
    found = deps.forgetting.receipt(number)
    if found is None:
        raise Missing(f"there is no erasure {number}", "the number of one that was asked for", "look at the list")
    return found


def _looked_up(deps: ApiDependencies, request: ErasureRequest, is_rehearsal: bool) -> Found:
    expected = deps.forgetting.rehearse_erasure(request.global_id)
    deps.record(AuditAction.ERASURE, f"person {request.global_id}", audited(request, is_rehearsal))
    return expected
