"""The pages of whoever runs a site: streams and dead letters, models, nights, the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query
from starlette.responses import RedirectResponse, Response

from pipeline.audit import AuditAction, Head, verified
from pipeline.errors import ConfigurationError, InvalidQuery, Unavailable
from services import models
from services.api.dependencies import ApiDependencies, Dependencies
from services.api.forgetting_routes import show_retention
from services.api.pages import page
from services.api.plots import trends
from services.audited import DEAD_SENT_AGAIN, MODEL_BEFORE_WANTED, letters_named, promotion
from services.erasing import receipt_in_words
from services.operations import MAX_REASON

router = APIRouter(prefix="/operations", include_in_schema=False)

SHOWN_LETTERS = 50
ENTRIES_PER_PAGE = 50
SHOWN_RECEIPTS = 50

Reason = Annotated[str, Form(max_length=MAX_REASON)]


@router.get("")
def streams_page(deps: Dependencies) -> Response:
    """How far each group is behind, what was set aside, and how full the disk is."""
    disk = deps.operations.disk()
    try:
        lags, letters = deps.operations.lags(), deps.operations.dead_letters(SHOWN_LETTERS + 1)
    except Unavailable as error:
        nothing: dict[str, object] = {"lags": [], "letters": [], "has_more": False}
        return _page(deps, "operations.html", "Streams", disk=disk, trouble=str(error), **nothing)
    return _page(
        deps,
        "operations.html",
        "Streams",
        disk=disk,
        lags=lags,
        letters=letters[:SHOWN_LETTERS],
        has_more=len(letters) > SHOWN_LETTERS,
        trouble="",
    )


@router.post("/dead/replay")
def replay_dead(deps: Dependencies, entry: Annotated[list[str] | None, Form()] = None) -> Response:
    """Send dead letters again: those that are named, or all."""
    chosen = entry or []
    deps.record(AuditAction.OPERATION, DEAD_SENT_AGAIN, letters_named(chosen))
    deps.work.begin("sending dead letters again", deps.who.name, lambda: deps.operations.replay(chosen))
    return RedirectResponse("/operations", 303)


@router.get("/models")
def models_page(deps: Dependencies) -> Response:
    """Every model with its figures; which one serves, which one is wanted, and how far the change is."""
    known, use = deps.operations.models()
    marks = {model.manifest.digest: list(models.marks(model.manifest.digest, use)) for model in known}
    return _page(
        deps,
        "models.html",
        "Models",
        models=known,
        marks=marks,
        remarks=list(models.remarks(known, use)),
        use=use,
        shown_figures=models.SHOWN_METRICS,
    )


@router.post("/models/promote")
def promote(deps: Dependencies, digest: Annotated[str, Form(max_length=64)], reason: Reason) -> Response:
    """Ask for a model to serve, whatever the gates said."""
    chosen, why = deps.operations.model(digest).manifest.digest, _said(reason)
    deps.record(AuditAction.OPERATION, promotion(chosen), {"reason": why})
    deps.work.begin("promoting a model", deps.who.name, lambda: deps.operations.promote(chosen, why))
    return RedirectResponse("/operations/models", 303)


@router.post("/models/rollback")
def rollback(deps: Dependencies, reason: Reason) -> Response:
    """Ask for the model that was wanted before."""
    why = _said(reason)
    deps.record(AuditAction.OPERATION, MODEL_BEFORE_WANTED, {"reason": why})
    deps.work.begin("going back to the model before", deps.who.name, lambda: deps.operations.rollback(why))
    return RedirectResponse("/operations/models", 303)


@router.get("/nights")
def nights_page(deps: Dependencies) -> Response:
    """What the last nights brought."""
    reports = deps.operations.nights()
    return _page(deps, "nights.html", "Nights", reports=reports, trends=trends(reports))


@router.get("/nights/{night}")
def night_page(deps: Dependencies, night: str) -> Response:
    """One night, from its archive to its verdict."""
    return _page(deps, "night.html", "Nights", report=deps.operations.night(night))


@router.get("/kept")
def kept_page(deps: Dependencies) -> Response:
    """How long everything is kept, how old the oldest of it is, backups, and the receipts of who was forgotten."""
    trouble, backups = "", None
    try:
        backups = deps.operations.backups()
    except Unavailable as error:
        trouble = str(error)
    receipts = [(receipt, receipt_in_words(receipt)) for receipt in deps.forgetting.receipts(SHOWN_RECEIPTS)]
    return _page(
        deps, "kept.html", "Kept", kept=show_retention(deps), backups=backups, trouble=trouble, receipts=receipts
    )


@router.get("/audit")
def audit_page(deps: Dependencies, before: Annotated[int | None, Query(ge=1, le=2**62)] = None) -> Response:
    """Who did what, the newest first."""
    entries = deps.audit.newest(ENTRIES_PER_PAGE + 1, before)
    return _page(
        deps,
        "audit.html",
        "Audit",
        entries=entries[:ENTRIES_PER_PAGE],
        has_more=len(entries) > ENTRIES_PER_PAGE,
        before=before,
    )


@router.post("/audit/verify")
def verify_audit(deps: Dependencies, head: Annotated[str, Form(max_length=100)] = "") -> Response:
    """Check every entry, and that the record leads through a head that was kept elsewhere."""
    kept = _head(head) if head.strip() else None

    def check() -> str:
        found = verified(deps.audit.entries(), kept)
        return f"{found.number} entries, none changed. Head: {found}"

    deps.work.begin("checking the audit log", deps.who.name, check)
    return RedirectResponse("/operations/audit", 303)


def _page(deps: ApiDependencies, name: str, here: str, **values: object) -> Response:
    """A page that comes again by itself while something is at work."""
    work = deps.work.last()
    is_busy = work is not None and work.ended_at is None
    return page(
        name,
        deps.caller,
        200,
        {"Refresh": "2"} if is_busy else None,
        here=here,
        work=work,
        is_busy=is_busy,
        now=deps.local_now(),
        **values,
    )


def _said(reason: str) -> str:
    if not reason.strip():
        raise InvalidQuery(
            "a change of the model without a reason", "why, in a few words", "write it beside the button"
        )
    return reason.strip()


def _head(text: str) -> Head:
    try:
        return Head.parse(text)
    except ConfigurationError as error:
        raise InvalidQuery(
            f"the head {text[:80]!r}", "NUMBER:HASH as it was kept", "copy it whole, or leave the field empty"
        ) from error
