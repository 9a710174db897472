"""Asking other sites for people who look like one of this site. No identity crosses: an answer is a resemblance."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from services.api.problems import Problem, ProblemReply
from services.api.replies import SearchReply

LONGEST_ANSWER_S = 10.0


@dataclass(frozen=True, slots=True)
class OtherSite:
    """The API of another site; `client` knows its address, its token and how long to wait."""

    name: str
    client: httpx.Client


class SiteReply(BaseModel):
    """What one site answered, or why it did not. Numbers of people and addresses of crops are those of that site."""

    site: str
    address: str
    answer: SearchReply | None = None
    problem: Problem | None = None


def open_site(name: str, address: str, token: str | None) -> OtherSite:
    """Connects at the first question."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return OtherSite(name, httpx.Client(base_url=address, headers=headers, timeout=LONGEST_ANSWER_S))


def ask_sites(sites: Sequence[OtherSite], question: dict[str, Any]) -> list[SiteReply]:
    """The answers of all sites to one question for a look, asked at the same time, in the order of `sites`."""
    if not sites:
        return []
    with ThreadPoolExecutor(len(sites)) as pool:
        return list(pool.map(lambda site: _ask(site, question), sites))


def _ask(site: OtherSite, question: dict[str, Any]) -> SiteReply:
    reply = SiteReply(site=site.name, address=str(site.client.base_url))
    try:
        response = site.client.post("/api/v1/search/look", json=question)
        if response.is_success:
            return reply.model_copy(update={"answer": SearchReply.model_validate_json(response.content)})
        problem = ProblemReply.model_validate_json(response.content).error
    except httpx.HTTPError as error:
        problem = Problem(
            found=f"{site.name} does not answer ({type(error).__name__})",
            expected=f"the API of that site at {reply.address}",
            to_do="look whether it runs and can be reached from here, then ask again",
        )
    except ValidationError:
        problem = Problem(
            found=f"{site.name} answers with status {response.status_code} and something unreadable",
            expected=f"the API of Sightline at {reply.address}",
            to_do="correct its address in api.other_sites, and let both sites run the same version",
        )
    return reply.model_copy(update={"problem": problem})
