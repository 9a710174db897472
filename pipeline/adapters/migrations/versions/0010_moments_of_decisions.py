"""When each tracklet was decided, by the matcher's clock: it tells which cameras' clocks are wrong."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tracklets", sa.Column("decided_at", sa.Double))


def downgrade() -> None:
    op.drop_column("tracklets", "decided_at")
