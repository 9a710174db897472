"""Who may do what, and who did: accounts, tokens, sessions, the audit log; and at which cameras a crop was taken."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COUNTERS = sa.table("counters", sa.column("name", sa.String), sa.column("last", sa.BigInteger))
_INDEXES = (
    ("api_tokens", "name"),
    ("sessions", "name"),
    ("login_attempts", "address"),
    ("login_attempts", "at"),
    ("crops", "blob_key"),
)


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(400), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit"),
    )
    op.create_table(
        "accounts",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("camera_ids", sa.JSON, nullable=False),
        sa.Column("password_hash", sa.String(200)),
        sa.Column("added_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_accounts"),
    )
    op.create_table(
        "api_tokens",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.PrimaryKeyConstraint("digest", name="pk_api_tokens"),
        sa.ForeignKeyConstraint(["name"], ["accounts.name"], name="fk_api_tokens_name"),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("name", sa.String(100)),
        sa.Column("token_digest", sa.String(64)),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_sessions"),
        sa.ForeignKeyConstraint(["name"], ["accounts.name"], name="fk_sessions_name"),
    )
    op.create_table(
        "login_attempts",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("name_digest", sa.String(64), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_login_attempts"),
    )
    for table, column in _INDEXES:
        op.create_index(f"ix_{table}_{column}", table, [column])
    op.bulk_insert(_COUNTERS, [{"name": name, "last": 0} for name in ("audit", "login")])


def downgrade() -> None:
    op.execute(_COUNTERS.delete().where(_COUNTERS.c.name.in_(("audit", "login"))))
    op.drop_index("ix_crops_blob_key", "crops")
    for table in ("audit", "login_attempts", "sessions", "api_tokens", "accounts"):
        op.drop_table(table)
