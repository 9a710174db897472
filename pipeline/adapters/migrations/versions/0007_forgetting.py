"""People who are erased, and how long everything else is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COUNTERS = sa.table("counters", sa.column("name", sa.String), sa.column("last", sa.BigInteger))


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=False),
        sa.Column("global_id", sa.BigInteger, nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("why", sa.String(200), nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("expected", sa.JSON, nullable=False),
        sa.Column("erased_at", sa.Double),
        sa.Column("global_ids", sa.JSON, nullable=False),
        sa.Column("removed", sa.JSON(none_as_null=True)),
        sa.Column("event_ids", sa.JSON, nullable=False),
        sa.Column("scrubbed_to", sa.BigInteger, nullable=False),
        sa.Column("followed", sa.JSON, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.Column("left", sa.JSON(none_as_null=True)),
        sa.PrimaryKeyConstraint("number", name="pk_erasures"),
    )
    op.create_table(
        "erased_tracks",
        sa.Column("mark", sa.String(64), nullable=False),
        sa.Column("first_sequence", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("last_sequence", sa.BigInteger),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("mark", "first_sequence", name="pk_erased_tracks"),
    )
    op.create_index("ix_erased_tracks_expires_at", "erased_tracks", ["expires_at"])
    op.create_table(
        "doomed_blobs",
        sa.Column("blob_key", sa.String(64), nullable=False),
        sa.Column("erasure", sa.BigInteger),
        sa.PrimaryKeyConstraint("blob_key", name="pk_doomed_blobs"),
    )
    op.create_index("ix_doomed_blobs_erasure", "doomed_blobs", ["erasure"])
    op.create_table(
        "retention_marks",
        sa.Column("camera_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("kept_from", sa.Double, nullable=False),
        sa.Column("cleaned_to", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("camera_id", "kind", name="pk_retention_marks"),
    )
    op.create_index("ix_tracklets_camera_id_boot_id_track_id", "tracklets", ["camera_id", "boot_id", "track_id"])
    op.bulk_insert(_COUNTERS, [{"name": "erasure", "last": 0}])


def downgrade() -> None:
    op.execute(_COUNTERS.delete().where(_COUNTERS.c.name == "erasure"))
    op.drop_index("ix_tracklets_camera_id_boot_id_track_id", "tracklets")
    for name in ("retention_marks", "doomed_blobs", "erased_tracks", "erasures"):
        op.drop_table(name)
