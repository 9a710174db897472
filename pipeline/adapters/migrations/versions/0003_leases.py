"""One writer at a time: who holds the right to decide, since when and how long."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    leases = op.create_table(
        "leases",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.String(200), nullable=False),
        sa.Column("process", sa.String(200), nullable=False),
        sa.Column("taken_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    nobody = {"name": "matcher", "token": 0, "holder": "", "process": "", "taken_at": 0.0, "expires_at": 0.0}
    op.bulk_insert(leases, [nobody])


def downgrade() -> None:
    op.drop_table("leases")
