"""The walking system: cameras, tracklets with crops and embeddings, identities and their events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ROW = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.bulk_insert(counters, [{"name": name, "last": 0} for name in ("global_id", "event_id", "row", "published")])
    op.create_table(
        "cameras",
        sa.Column("camera_id", sa.String(64), nullable=False),
        sa.Column("address", sa.String, nullable=False),
        sa.Column("added_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("camera_id", name="pk_cameras"),
    )
    op.create_table(
        "identities",
        sa.Column("global_id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("opened_at", sa.Double, nullable=False),
        sa.Column("first_seen_at", sa.Double, nullable=False),
        sa.Column("last_seen_at", sa.Double, nullable=False),
        sa.Column("tracklets", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("global_id", name="pk_identities"),
    )
    op.create_index("ix_identities_last_seen_at", "identities", ["last_seen_at"])
    op.create_table(
        "tracklets",
        sa.Column("tracklet_id", sa.String(200), nullable=False),
        sa.Column("camera_id", sa.String(64), nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("track_id", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double, nullable=False),
        sa.Column("detections", sa.BigInteger, nullable=False),
        sa.Column("global_id", sa.BigInteger),
        sa.Column("confidence", sa.Double),
        sa.PrimaryKeyConstraint("tracklet_id", name="pk_tracklets"),
        sa.ForeignKeyConstraint(["global_id"], ["identities.global_id"], name="fk_tracklets_global_id"),
    )
    op.create_index("ix_tracklets_global_id_started_at", "tracklets", ["global_id", "started_at"])
    op.create_index("ix_tracklets_camera_id_started_at", "tracklets", ["camera_id", "started_at"])
    op.create_table(
        "crops",
        sa.Column("tracklet_id", sa.String(200), nullable=False),
        sa.Column("rank", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("blob_key", sa.String(64), nullable=False),
        sa.Column("captured_at", sa.Double, nullable=False),
        sa.Column("x1_px", sa.Double, nullable=False),
        sa.Column("y1_px", sa.Double, nullable=False),
        sa.Column("x2_px", sa.Double, nullable=False),
        sa.Column("y2_px", sa.Double, nullable=False),
        sa.Column("frame_width_px", sa.Integer, nullable=False),
        sa.Column("frame_height_px", sa.Integer, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("sharpness", sa.Double, nullable=False),
        sa.Column("visibility", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tracklet_id", "rank", name="pk_crops"),
        sa.ForeignKeyConstraint(["tracklet_id"], ["tracklets.tracklet_id"], name="fk_crops_tracklet_id"),
    )
    op.create_table(
        "embeddings",
        sa.Column("row", _ROW, nullable=False, autoincrement=False),
        sa.Column("tracklet_id", sa.String(200), nullable=False),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("quality", sa.Double, nullable=False),
        sa.Column("appearance", sa.LargeBinary, nullable=False),
        sa.Column("language", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("row", name="pk_embeddings"),
        sa.ForeignKeyConstraint(["tracklet_id"], ["tracklets.tracklet_id"], name="fk_embeddings_tracklet_id"),
        sa.UniqueConstraint("tracklet_id", "model_digest", name="uq_embeddings_tracklet_id_model_digest"),
    )
    op.create_index("ix_embeddings_model_digest_row", "embeddings", ["model_digest", "row"])
    op.create_table(
        "identity_events",
        sa.Column("event_id", _ROW, nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("decided_at", sa.Double, nullable=False),
        sa.Column("global_id", sa.BigInteger, nullable=False),
        sa.Column("from_global_id", sa.BigInteger),
        sa.Column("tracklet_ids", sa.JSON, nullable=False),
        sa.Column("camera_id", sa.String(64)),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("is_new", sa.Boolean, nullable=False),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("reason", sa.String(400), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_identity_events"),
    )


def downgrade() -> None:
    for table in ("identity_events", "embeddings", "crops", "tracklets", "identities", "cameras", "counters"):
        op.drop_table(table)
