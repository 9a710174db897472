"""Standing queries, their alerts, and what webhooks are told of them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_COUNTERS = sa.table("counters", sa.column("name", sa.String), sa.column("last", sa.BigInteger))
_NAMES = ("standing_query", "standing_change", "alert", "watched")


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "standing_queries",
        sa.Column("number", number, nullable=False, autoincrement=False),
        sa.Column("question", sa.String(300), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("camera_ids", sa.JSON, nullable=False),
        sa.Column("window_s", sa.Double, nullable=False),
        sa.Column("daily_budget", sa.Integer, nullable=False),
        sa.Column("margin", sa.Double, nullable=False),
        sa.Column("tested_at", sa.Double),
        sa.Column("tested_days", sa.Double),
        sa.Column("tested_fired", sa.Integer),
        sa.Column("on_after", sa.BigInteger),
        sa.PrimaryKeyConstraint("number", name="pk_standing_queries"),
    )
    op.create_table(
        "alerts",
        sa.Column("number", number, nullable=False, autoincrement=False),
        sa.Column("query_number", number, nullable=False),
        sa.Column("tracklet_id", sa.String(200), nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("raised_at", sa.Double, nullable=False),
        sa.Column("margin", sa.Double, nullable=False),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("is_quiet", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("judged_by", sa.String(64)),
        sa.Column("judged_at", sa.Double),
        sa.PrimaryKeyConstraint("number", name="pk_alerts"),
        sa.ForeignKeyConstraint(
            ["query_number"], ["standing_queries.number"], name="fk_alerts_query_number", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tracklet_id"], ["tracklets.tracklet_id"], name="fk_alerts_tracklet_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("tracklet_id", "query_number", name="uq_alerts_tracklet_id_query_number"),
    )
    op.create_index("ix_alerts_query_number_seen_at", "alerts", ["query_number", "seen_at"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("alert_number", number, nullable=False, autoincrement=False),
        sa.Column("webhook", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("problem", sa.String(400), nullable=False),
        sa.PrimaryKeyConstraint("alert_number", "webhook", name="pk_webhook_deliveries"),
        sa.ForeignKeyConstraint(
            ["alert_number"], ["alerts.number"], name="fk_webhook_deliveries_alert_number", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_webhook_deliveries_webhook_state_due_at", "webhook_deliveries", ["webhook", "state", "due_at"])
    op.bulk_insert(_COUNTERS, [{"name": name, "last": 0} for name in _NAMES])


def downgrade() -> None:
    op.execute(_COUNTERS.delete().where(_COUNTERS.c.name.in_(_NAMES)))
    for table in ("webhook_deliveries", "alerts", "standing_queries"):
        op.drop_table(table)
