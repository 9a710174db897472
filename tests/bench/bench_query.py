"""Questions to a large archive while tracklets arrive: how long one takes, how many are answered when sixteen ask, what
the short list misses against all rows, memory, and whether ingestion loses anything.

Everything is real: the sentences go through the shipped model, routes come from SQLite, and a thread commits tracklets
as the matcher does. Over HTTP the API itself answers, with rights and audit log; who asks is another process. Looks are
drawn around real sentences, so that many people fit a question almost as well.
`BENCH_TRACKLETS` sets another size than a million; processor time is that of the process, both of the search and of the
ingestion, and grows by half beside busy neighbours. OMP_NUM_THREADS=1 keeps threads from waiting for one another.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.adapters.schema import counters, crops, embeddings, identities, tracklets
from pipeline.adapters.store import SqlStore, upgrade
from pipeline.contracts import F32, GlobalId, pack_vector
from pipeline.decisions import Decision
from pipeline.search.hearing import hear
from pipeline.search.models import SearchModel
from pipeline.search.people import PeopleSearch
from pipeline.search.query import Filters, inside, rank
from pipeline.search.text_calibration import FALSE_ANSWERS
from reid_models.inference import load_encoder
from reid_models.serving.encoder import ServedEncoder
from services.api.main import listening, serve
from services.query import search_model
from tests.fakes import embedding
from tests.small_site import api_dependencies, small_site

TRACKLETS = int(os.environ.get("BENCH_TRACKLETS", "1_000_000"))
EACH = 10  # tracklets of one person
APPEARANCE = 8  # words do not ask for it
USERS, QUESTIONS, COMPARED, SHOWN = 16, 480, 24, 12
INGESTED_IN_ONE, INGEST_EVERY_S = 8, 0.2  # forty tracklets a second: a site of some hundred people in view
NOW = datetime(2026, 5, 1, tzinfo=UTC)
_SLAB = 20_000


def main(out: Path) -> None:
    """Write `out` and print a table."""
    encoder = load_encoder(threads=2)
    with tempfile.TemporaryDirectory() as folder:
        upgrade(url := f"sqlite:///{Path(folder) / 'large.db'}")
        store = SqlStore(url)
        _fill(store, encoder)
        results = _measure(store, encoder)
        store.close()
    out.write_text(json.dumps(results, indent=1) + "\n")
    table = Table("what", "", title=f"questions to {TRACKLETS:,} tracklets of {TRACKLETS // EACH:,} people")
    for name, figure in results.items():
        table.add_row(name, f"{figure:,.3f}")
    Console().print(table)


def _measure(store: SqlStore, encoder: ServedEncoder) -> dict[str, float]:
    model = search_model(store, encoder, FALSE_ANSWERS)
    search = PeopleSearch(store, lambda: model)
    before_mb, started_s = _memory_mb(), time.process_time()
    model.language.refresh()
    results = {"index read, CPU s": time.process_time() - started_s, "index, MB": _memory_mb() - before_mb}
    rng = np.random.default_rng(7)

    def ask(question: str) -> float:
        asked_s = time.perf_counter()
        search.by_words(question, Filters(), (), NOW, SHOWN, with_weak=True)
        return time.perf_counter() - asked_s

    gc.collect()
    gc.freeze()  # as the API does
    with _ingesting(store, encoder) as ingested, _served(store, search) as port:
        for name, users in (("one user", 1), (f"{USERS} users", USERS)):
            # Others each time: sentences that were asked before need no pass of the model.
            questions = _sentences(rng, QUESTIONS + USERS, of_people=False)
            with ThreadPoolExecutor(users) as pool:
                list(pool.map(ask, questions[:USERS]))
                results |= _timed(name, lambda asked, pool=pool: list(pool.map(ask, asked)), questions[USERS:])
            questions = _sentences(rng, QUESTIONS, of_people=False)
            results |= _timed(f"{name} over HTTP", lambda asked, users=users: _over_http(port, users, asked), questions)
    results["ingested meanwhile"] = float(len(ingested))
    known = set(model.language.refresh().tracklet_ids)
    results["of these not in the index"] = float(sum(name not in known for name in ingested))
    return results | _recall(model, questions[:COMPARED])


def _timed(name: str, ask_all: Callable[[Sequence[str]], list[float]], questions: Sequence[str]) -> dict[str, float]:
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    taken_s = sorted(ask_all(questions))
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    return {
        f"{name}, median ms": 1e3 * taken_s[len(taken_s) // 2],
        f"{name}, p95 ms": 1e3 * taken_s[int(0.95 * len(taken_s))],
        f"{name}, questions/s": len(questions) / wall_s,
        f"{name}, CPU ms a question": 1e3 * cpu_s / len(questions),
        f"{name}, questions/s of two whole processors": 2.0 * len(questions) / cpu_s,
    }


@contextmanager
def _served(store: SqlStore, search: PeopleSearch) -> Iterator[int]:
    """The API over `search` in this process, with its audit log in the same database; yields its port."""
    deps = api_dependencies(replace(small_site(), store=store, search=search))
    is_ready, stop = threading.Event(), threading.Event()
    with listening("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=serve, args=(deps, listener, stop, is_ready.set))
        thread.start()
        is_ready.wait()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            thread.join()


def _over_http(port: int, users: int, questions: Sequence[str]) -> list[float]:
    command = [sys.executable, "-m", "tests.bench.http_askers", str(port), str(users)]
    done = subprocess.run(command, input="\n".join(questions), capture_output=True, text=True, check=True)
    taken_s: list[float] = json.loads(done.stdout)
    return taken_s


def _recall(model: SearchModel, questions: Sequence[str]) -> dict[str, float]:
    """How many of the first answers that all rows give are among those of the short list, and the time of both."""
    hits, all_rows_s, listed_s = [], 0.0, 0.0
    for question in questions:
        ask = hear(model, question).ask(model.words, Filters())
        started_s = time.process_time()
        near = model.language.near(ask)
        listed = {candidate.global_id for candidate in rank(ask, near.rows, near.chosen, SHOWN).candidates}
        listed_s += time.process_time() - started_s
        started_s = time.process_time()
        exact = rank(ask, near.rows, inside(near.rows, Filters()), SHOWN).candidates
        all_rows_s += time.process_time() - started_s
        hits.append(np.mean([candidate.global_id in listed for candidate in exact]))
    return {
        f"recall of the first {SHOWN}": float(np.mean(hits)),
        "the same, worst question": float(min(hits)),
        "CPU of all rows over that of the short list": all_rows_s / listed_s,
    }


@contextmanager
def _ingesting(store: SqlStore, encoder: ServedEncoder) -> Iterator[list[str]]:
    """Commits tracklets at a steady pace; yields the names of what was acknowledged."""
    done, names = threading.Event(), list[str]()

    def ingest() -> None:
        looks, number = _unit(np.random.default_rng(11).standard_normal((256, _width(encoder)))), 0
        while not done.wait(INGEST_EVERY_S):
            decisions = []
            for _ in range(INGESTED_IN_ONE):
                number += 1
                language = pack_vector(looks[number % len(looks)])
                seen = embedding(track_id=10**7 + number, started_at=2e9, ended_at=2e9 + 4, digest=encoder.digest)
                seen = seen.model_copy(update={"language": language, "appearance": bytes(2 * APPEARANCE)})
                decisions.append(Decision(seen, GlobalId(1 + number % 100), False, 0.9, "bench"))
            store.commit_decisions(decisions, 2e9)
            names.extend(decision.embedding.tracklet_id for decision in decisions)

    thread = threading.Thread(target=ingest)
    thread.start()
    try:
        yield names
    finally:
        done.set()
        thread.join()


def _fill(store: SqlStore, encoder: ServedEncoder) -> None:
    """Rows as archiver and matcher write them, in bulk: everybody is seen `EACH` times, at moments drawn by chance."""
    rng, people = np.random.default_rng(1), TRACKLETS // EACH
    said = _embedded(encoder, _sentences(rng, 2000, of_people=True))
    owners = rng.permutation(np.repeat(np.arange(people), EACH))
    looks = _unit(0.5 * said[rng.integers(0, len(said), people)] + _noise(rng, people, said.shape[1], 0.8))
    plain = {"camera_id": "gate", "boot_id": "b1", "sequence": 0, "detections": 8, "confidence": 0.9}
    box = dict.fromkeys(("x1_px", "y1_px", "x2_px", "y2_px", "captured_at"), 1.0)
    crop = box | {"frame_width_px": 640, "frame_height_px": 360, "score": 0.9, "sharpness": 9.0, "visibility": 1.0}
    with store._database.writing() as connection:
        opened = {"opened_at": 0.0, "first_seen_at": 0.0, "last_seen_at": 1.0, "tracklets": EACH}
        connection.execute(identities.insert(), [opened | {"global_id": 1 + number} for number in range(people)])
        for start in range(0, TRACKLETS, _SLAB):
            numbers = range(start, min(start + _SLAB, TRACKLETS))
            own = owners[start : start + len(numbers)]
            # The spread of one person's tracklets on real crops: a ninth of the squared length
            seen = _unit(looks[own] + _noise(rng, len(numbers), said.shape[1], 0.35)).astype("<f2")
            names = [f"gate/b1/{number}/0" for number in numbers]
            connection.execute(
                tracklets.insert(),
                [
                    plain
                    | {"tracklet_id": name, "track_id": number, "started_at": float(number), "ended_at": number + 4.0}
                    | {"global_id": 1 + int(owner), "assigned_event": 1 + number}
                    for number, name, owner in zip(numbers, names, own, strict=True)
                ],
            )
            connection.execute(
                crops.insert(), [crop | {"tracklet_id": name, "rank": 0, "blob_key": "0" * 40} for name in names]
            )
            connection.execute(
                embeddings.insert(),
                [
                    {"row": 1 + number, "tracklet_id": name, "model_digest": encoder.digest, "quality": 0.8}
                    | {"appearance": bytes(2 * APPEARANCE), "language": vector.tobytes()}
                    for number, name, vector in zip(numbers, names, seen, strict=True)
                ],
            )
        for name, last in (("row", TRACKLETS), ("global_id", people), ("event_id", TRACKLETS)):
            connection.execute(counters.update().where(counters.c.name == name).values(last=last))


def _sentences(rng: np.random.Generator, count: int, *, of_people: bool) -> list[str]:
    """Descriptions; `of_people` with everything that is said, else as somebody asks."""
    colours = ("black", "white", "red", "blue", "green", "gray", "yellow", "brown", "purple")
    whos, uppers, lowers = ("man", "woman"), ("shirt", "jacket", "t-shirt"), ("pants", "shorts", "jeans")
    carried = (" with a backpack", " with a shoulder bag", "")
    denied = ("", "", "", " without a backpack")

    def one(words: Sequence[str]) -> str:
        return words[int(rng.integers(len(words)))]

    return [
        f"a {one(whos)} wearing a {one(colours)} {one(uppers)} and {one(colours)} {one(lowers)}{one(carried)}"
        if of_people or rng.random() < 0.5
        else f"{one(whos)} in a {one(colours)} {one(uppers)}{one(denied)}"
        for _ in range(count)
    ]


def _embedded(encoder: ServedEncoder, sentences: Sequence[str]) -> F32:
    parts = (sentences[start : start + 64] for start in range(0, len(sentences), 64))
    return np.concatenate([encoder.embed_texts(part) for part in parts])


def _noise(rng: np.random.Generator, count: int, dimension: int, length: float) -> F32:
    return rng.standard_normal((count, dimension), np.float32) * np.float32(length / np.sqrt(dimension))


def _unit(vectors: F32) -> F32:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _width(encoder: ServedEncoder) -> int:
    return encoder.manifest.language_width


def _memory_mb() -> float:
    """What this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6
