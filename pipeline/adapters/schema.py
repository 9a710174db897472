"""The tables of the database, which is the truth. `migrations/` builds the same ones, step by step.

Moments are UTC seconds. Global identities, events and embedding rows have their numbers from `counters`.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("last", BigInteger, nullable=False),
)

# Who may write in a role; the token grows with each holder, and a writer with an older one is refused.
leases = Table(
    "leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("holder", String(200), nullable=False),  # for people: site, host and process
    Column("process", String(200), nullable=False),  # for a successor on the same machine
    Column("taken_at", Double, nullable=False),  # this and the next by the database's clock
    Column("expires_at", Double, nullable=False),
)

cameras = Table(
    "cameras",
    metadata,
    Column("camera_id", String(64), primary_key=True),
    Column("address", String, nullable=False),  # without credentials
    Column("added_at", Double, nullable=False),
)

identities = Table(
    "identities",
    metadata,
    Column("global_id", BigInteger, primary_key=True, autoincrement=False),
    Column("opened_at", Double, nullable=False),
    Column("first_seen_at", Double, nullable=False),
    Column("last_seen_at", Double, nullable=False),
    Column("tracklets", Integer, nullable=False),
    Column("merged_into", BigInteger),  # as whom a person without tracklets lives on
    Index(None, "last_seen_at"),
)

tracklets = Table(
    "tracklets",
    metadata,
    Column("tracklet_id", String(200), primary_key=True),
    Column("camera_id", String(64), nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("track_id", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double, nullable=False),
    Column("detections", BigInteger, nullable=False),
    Column("global_id", ForeignKey("identities.global_id")),  # null until the matcher has decided
    Column("confidence", Double),
    # What was thought when it was decided: that nobody had seen her before, and of the likeliest of the known
    Column("newness", Double, nullable=False, server_default="0"),
    Column("likeliest", Double, nullable=False, server_default="0"),
    Column("decided_at", Double),  # by the matcher's clock
    Column("assigned_event", BigInteger),  # the event that gave the identity: the order of decisions
    Index(None, "global_id", "started_at"),
    Index(None, "camera_id", "started_at"),
    Index(None, "ended_at"),
    Index(None, "assigned_event"),
    Index(None, "camera_id", "boot_id", "track_id"),
)

crops = Table(
    "crops",
    metadata,
    Column("tracklet_id", ForeignKey("tracklets.tracklet_id"), primary_key=True),
    Column("rank", Integer, primary_key=True, autoincrement=False),  # 0 is the best
    Column("blob_key", String(64), nullable=False),
    Column("captured_at", Double, nullable=False),
    Column("x1_px", Double, nullable=False),
    Column("y1_px", Double, nullable=False),
    Column("x2_px", Double, nullable=False),
    Column("y2_px", Double, nullable=False),
    Column("frame_width_px", Integer, nullable=False),
    Column("frame_height_px", Integer, nullable=False),
    Column("score", Double, nullable=False),
    Column("sharpness", Double, nullable=False),
    Column("visibility", Double, nullable=False),
    Index(None, "blob_key"),
)

embeddings = Table(
    "embeddings",
    metadata,
    # INTEGER on SQLite, where only that spelling makes the column the table's own key
    Column("row", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("tracklet_id", ForeignKey("tracklets.tracklet_id"), nullable=False),
    Column("model_digest", String(64), nullable=False),
    Column("quality", Double, nullable=False),
    Column("appearance", LargeBinary, nullable=False),  # little-endian float16
    Column("language", LargeBinary, nullable=False),  # little-endian float16
    UniqueConstraint("tracklet_id", "model_digest"),
    Index(None, "model_digest", "row"),
)

# Tracklets of which a model gave no vector: every crop is lost or damaged, or the model stumbles over it.
embedding_failures = Table(
    "embedding_failures",
    metadata,
    Column("tracklet_id", ForeignKey("tracklets.tracklet_id"), primary_key=True),
    Column("model_digest", String(64), primary_key=True),
    Column("failed_at", Double, nullable=False),
    Column("reason", String(400), nullable=False),
)

# Which model served since when; the last one serves. Only the matcher adds to it.
model_switches = Table(
    "model_switches",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("model_digest", String(64), nullable=False),
    Column("switched_at", Double, nullable=False),
    Column("reason", String(400), nullable=False),
)

# What a site has taught the matcher, as `Calibration.packed`. The last of a model counts.
calibrations = Table(
    "calibrations",
    metadata,
    Column("model_digest", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("learnt_at", Double, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("camera_ids", JSON, nullable=False),  # granted to a viewer
    Column("password_hash", String(200)),  # argon2; null: none lets it in
    Column("added_at", Double, nullable=False),
)

# Tokens are random, so that one pass of SHA-256 hides them well enough; the same holds for sessions.
api_tokens = Table(
    "api_tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("name", ForeignKey("accounts.name"), nullable=False),
    Column("made_at", Double, nullable=False),
    Column("expires_at", Double),
    Index(None, "name"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("name", ForeignKey("accounts.name")),  # null: logged in by the token of the settings
    Column("token_digest", String(64)),
    Column("expires_at", Double, nullable=False),
    Index(None, "name"),
)

# Logins that failed, or are being tried just now, for some minutes.
login_attempts = Table(
    "login_attempts",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("address", String(64), nullable=False),
    Column("name_digest", String(64), nullable=False),  # somebody may type a password where the name belongs
    Column("at", Double, nullable=False),
    Index(None, "address"),
    Index(None, "at"),
)

# What people did, in a chain of hashes; see `pipeline.audit`. Nothing is ever changed or deleted.
audit = Table(
    "audit",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(400), nullable=False),
    Column("detail", Text, nullable=False),  # text and no JSON: the hash covers every character
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
)

_IS_CHANGE = text("kind != 'assigned'")
_IS_MOVE = text("from_global_id IS NOT NULL")

identity_events = Table(
    "identity_events",
    metadata,
    Column("event_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("decided_at", Double, nullable=False),
    Column("global_id", BigInteger, nullable=False),  # no foreign key: events outlive the identity
    Column("from_global_id", BigInteger),
    Column("tracklet_ids", JSON, nullable=False),
    Column("camera_id", String(64)),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("is_new", Boolean, nullable=False),
    Column("is_tentative", Boolean, nullable=False, server_default=false()),
    Column("confidence", Double, nullable=False),
    Column("reason", String(400), nullable=False),
    Column("evidence", JSON(none_as_null=True)),
    # Changes are few among the assignments: readers follow them, and a tracklet's own are found from person to person.
    Index("ix_identity_events_changes", "event_id", sqlite_where=_IS_CHANGE, postgresql_where=_IS_CHANGE),
    Index(None, "from_global_id", "event_id", sqlite_where=_IS_MOVE, postgresql_where=_IS_MOVE),
)

# What people said about who is who. Nothing is deleted: an undo is a correction too.
corrections = Table(
    "corrections",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("global_ids", JSON, nullable=False),
    Column("tracklet_ids", JSON, nullable=False),
    Column("undoes", BigInteger),
    Column("made_by", String(64), nullable=False),
    Column("made_at", Double, nullable=False),
    Column("note", String(200), nullable=False),
    Column("after_event", BigInteger, nullable=False),  # the last event when it was made
    Column("applied_at", Double),  # null until the matcher has seen it
    Column("outcome", String(400), nullable=False),
    Column("event_ids", JSON, nullable=False),
    Column("one_side", JSON, nullable=False),  # tracklets bound to, or kept apart from, those of the other side
    Column("other_side", JSON, nullable=False),
    Column("undone_by", BigInteger),
)

# What people said about answers to a description: the last word on each person and question.
search_verdicts = Table(
    "search_verdicts",
    metadata,
    Column("model_digest", String(64), primary_key=True),
    Column("global_id", BigInteger, primary_key=True, autoincrement=False),
    Column("question", String(300), primary_key=True),
    Column("log_odds", Double, nullable=False),  # as the model gave them
    Column("is_right", Boolean, nullable=False),
    Column("made_by", String(64), nullable=False),
    Column("made_at", Double, nullable=False),
)

# People who are to be forgotten, and the receipts of those who are: numbers, and nothing else about them.
erasures = Table(
    "erasures",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("global_id", BigInteger, nullable=False),
    Column("made_by", String(64), nullable=False),
    Column("why", String(200), nullable=False),
    Column("made_at", Double, nullable=False),
    Column("expected", JSON, nullable=False),
    Column("erased_at", Double),  # null until the matcher has applied it
    Column("global_ids", JSON, nullable=False),
    Column("removed", JSON(none_as_null=True)),
    Column("event_ids", JSON, nullable=False),  # by which everybody is told
    Column("scrubbed_to", BigInteger, nullable=False),  # the last event whose evidence was looked through
    Column("followed", JSON, nullable=False),
    Column("finished_at", Double),  # null while something may be left somewhere
    Column("left", JSON(none_as_null=True)),
)

# Which pieces of which tracks are not written again when they come late. The mark is a hash of the track's name.
erased_tracks = Table(
    "erased_tracks",
    metadata,
    Column("mark", String(64), primary_key=True),
    Column("first_sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("last_sequence", BigInteger),  # null: all that follow
    Column("expires_at", Double, nullable=False),
    Index(None, "expires_at"),
)

# Blobs whose rows are gone. They stand here from the same transaction on until the medium has let go of them.
doomed_blobs = Table(
    "doomed_blobs",
    metadata,
    Column("blob_key", String(64), primary_key=True),
    Column("erasure", BigInteger),  # null: kept long enough
    Index(None, "erasure"),
)

# From when on a kind is kept of a camera. It never goes back: what is gone is not expected any more.
retention_marks = Table(
    "retention_marks",
    metadata,
    Column("camera_id", String(64), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("kept_from", Double, nullable=False),  # by the beginning of a tracklet; nothing earlier is given out
    Column("cleaned_to", Double, nullable=False),  # up to here all of it is removed
)

_NUMBER = BigInteger().with_variant(Integer, "sqlite")

# Questions that stand. What false alarms have taught is `margin`; a query is on for events after `on_after`.
standing_queries = Table(
    "standing_queries",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=False),
    Column("question", String(300), nullable=False),
    Column("name", String(64), nullable=False),
    Column("made_by", String(64), nullable=False),
    Column("made_at", Double, nullable=False),
    Column("camera_ids", JSON, nullable=False),  # none: all cameras
    Column("window_s", Double, nullable=False),
    Column("daily_budget", Integer, nullable=False),
    Column("margin", Double, nullable=False),
    Column("tested_at", Double),  # this and the next two: the last back-test
    Column("tested_days", Double),
    Column("tested_fired", Integer),
    Column("on_after", BigInteger),  # null: off
)

# An alert is its tracklet's, and goes with it; person, camera and times are read there, so merges need no change here.
alerts = Table(
    "alerts",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=False),
    Column("query_number", ForeignKey("standing_queries.number", ondelete="CASCADE"), nullable=False),
    Column("tracklet_id", ForeignKey("tracklets.tracklet_id", ondelete="CASCADE"), nullable=False),
    Column("seen_at", Double, nullable=False),  # the end of the tracklet
    Column("raised_at", Double, nullable=False),
    Column("margin", Double, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("is_quiet", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("judged_by", String(64)),
    Column("judged_at", Double),
    UniqueConstraint("tracklet_id", "query_number"),
    Index(None, "query_number", "seen_at"),
)

# What each webhook has still to be told, was told, or could not be told.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("alert_number", ForeignKey("alerts.number", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("webhook", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("problem", String(400), nullable=False),
    Index(None, "webhook", "state", "due_at"),
)
