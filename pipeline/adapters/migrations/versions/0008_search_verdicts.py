"""What people said about answers to a description, so that a confidence becomes that of the site."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "search_verdicts",
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("global_id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("question", sa.String(300), nullable=False),
        sa.Column("log_odds", sa.Double, nullable=False),
        sa.Column("is_right", sa.Boolean, nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("model_digest", "global_id", "question", name="pk_search_verdicts"),
    )


def downgrade() -> None:
    op.drop_table("search_verdicts")
