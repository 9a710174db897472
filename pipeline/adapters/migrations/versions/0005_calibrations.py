"""What a site has taught the matcher, numbered, so that a decision can name it and a restart goes on with it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("newness", "likeliest"):
        op.add_column("tracklets", sa.Column(name, sa.Double, nullable=False, server_default="0"))
    op.create_table(
        "calibrations",
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("learnt_at", sa.Double, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("model_digest", "number", name="pk_calibrations"),
    )


def downgrade() -> None:
    op.drop_table("calibrations")
    for name in ("likeliest", "newness"):
        op.drop_column("tracklets", name)
