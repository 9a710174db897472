"""Identities that are revised: merged and split ones, corrections by people, and the evidence of each decision."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_CHANGE = sa.text("kind != 'assigned'")
_MOVE = sa.text("from_global_id IS NOT NULL")
_COUNTERS = sa.table("counters", sa.column("name", sa.String), sa.column("last", sa.BigInteger))


def upgrade() -> None:
    op.add_column("identities", sa.Column("merged_into", sa.BigInteger))
    op.add_column("identity_events", sa.Column("evidence", sa.JSON(none_as_null=True)))
    op.add_column("identity_events", sa.Column("is_tentative", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index(
        "ix_identity_events_changes", "identity_events", ["event_id"], sqlite_where=_CHANGE, postgresql_where=_CHANGE
    )
    op.create_index(
        "ix_identity_events_from_global_id_event_id",
        "identity_events",
        ["from_global_id", "event_id"],
        sqlite_where=_MOVE,
        postgresql_where=_MOVE,
    )
    op.create_table(
        "corrections",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("global_ids", sa.JSON, nullable=False),
        sa.Column("tracklet_ids", sa.JSON, nullable=False),
        sa.Column("undoes", sa.BigInteger),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("after_event", sa.BigInteger, nullable=False),
        sa.Column("applied_at", sa.Double),
        sa.Column("outcome", sa.String(400), nullable=False),
        sa.Column("event_ids", sa.JSON, nullable=False),
        sa.Column("one_side", sa.JSON, nullable=False),
        sa.Column("other_side", sa.JSON, nullable=False),
        sa.Column("undone_by", sa.BigInteger),
        sa.PrimaryKeyConstraint("number", name="pk_corrections"),
    )
    op.bulk_insert(_COUNTERS, [{"name": "correction", "last": 0}])


def downgrade() -> None:
    op.execute(_COUNTERS.delete().where(_COUNTERS.c.name == "correction"))
    op.drop_table("corrections")
    op.drop_index("ix_identity_events_from_global_id_event_id", "identity_events")
    op.drop_index("ix_identity_events_changes", "identity_events")
    op.drop_column("identity_events", "is_tentative")
    op.drop_column("identity_events", "evidence")
    op.drop_column("identities", "merged_into")
