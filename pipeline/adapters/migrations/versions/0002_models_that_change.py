"""Models that change while running: what serves, what cannot be embedded, and the order of decisions."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_PAGE = 2000


def upgrade() -> None:
    op.create_table(
        "model_switches",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=False),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("switched_at", sa.Double, nullable=False),
        sa.Column("reason", sa.String(400), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_model_switches"),
    )
    op.create_table(
        "embedding_failures",
        sa.Column("tracklet_id", sa.String(200), nullable=False),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("failed_at", sa.Double, nullable=False),
        sa.Column("reason", sa.String(400), nullable=False),
        sa.PrimaryKeyConstraint("tracklet_id", "model_digest", name="pk_embedding_failures"),
        sa.ForeignKeyConstraint(["tracklet_id"], ["tracklets.tracklet_id"], name="fk_embedding_failures_tracklet_id"),
    )
    op.add_column("tracklets", sa.Column("assigned_event", sa.BigInteger))
    _fill_assigned_events()
    op.create_index("ix_tracklets_ended_at", "tracklets", ["ended_at"])
    op.create_index("ix_tracklets_assigned_event", "tracklets", ["assigned_event"])


def downgrade() -> None:
    op.drop_index("ix_tracklets_assigned_event", "tracklets")
    op.drop_index("ix_tracklets_ended_at", "tracklets")
    op.drop_column("tracklets", "assigned_event")
    op.drop_table("embedding_failures")
    op.drop_table("model_switches")


def _fill_assigned_events() -> None:
    events = sa.table("identity_events", sa.column("event_id"), sa.column("kind"), sa.column("tracklet_ids", sa.JSON))
    tracklets = sa.table("tracklets", sa.column("tracklet_id"), sa.column("assigned_event"))
    fill = (
        tracklets.update()
        .where(tracklets.c.tracklet_id == sa.bindparam("which"))
        .values(assigned_event=sa.bindparam("event_id"))
    )
    query = sa.select(events.c.event_id, events.c.tracklet_ids).where(events.c.kind == "assigned")
    connection, last = op.get_bind(), 0
    while page := connection.execute(
        query.where(events.c.event_id > last).order_by(events.c.event_id).limit(_PAGE)
    ).all():
        last = page[-1].event_id
        found = [{"which": name, "event_id": row.event_id} for row in page for name in row.tracklet_ids]
        connection.execute(fill, found)
