"""Every Prometheus metric of Sightline in one list: unit suffixes, cameras and reasons as labels, people never."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_WORK_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_AGE_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 300.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)

# camera
FRAMES_IN = Counter("sightline_frames_in_total", "Frames decoded", ["camera"])
FRAMES_ANALYSED = Counter("sightline_frames_analysed_total", "Frames given to the detector", ["camera"])
FRAMES_DROPPED = Counter(
    "sightline_frames_dropped_total",
    "Frames not analysed: rate (above the target rate), late, backpressure, corrupt",
    ["camera", "reason"],
)
FRAME_AGE = Histogram(
    "sightline_frame_age_seconds", "From capture to the start of analysis", ["camera"], buckets=_AGE_S
)
DECODE_SECONDS = Histogram("sightline_decode_seconds", "Decoding one frame", ["camera"], buckets=_WORK_S)
DETECT_SECONDS = Histogram("sightline_detect_seconds", "One detector batch", ["detector"], buckets=_WORK_S)
DETECT_BATCH = Histogram("sightline_detect_batch_frames", "Frames in one detector batch", buckets=_SIZES)
TRACK_SECONDS = Histogram("sightline_track_seconds", "Tracking one frame", ["camera"], buckets=_WORK_S)
PEOPLE = Gauge("sightline_people_in_view", "Tracks seen in the newest frame", ["camera"])
TRACKLETS = Counter("sightline_tracklets_total", "Tracklets cut and sent", ["camera"])
CROPS = Counter("sightline_crops_total", "Crops sent", ["camera"])
CAMERA_UP = Gauge("sightline_camera_up", "1 while frames arrive", ["camera"])
CAMERA_STALLS = Counter("sightline_camera_stalls_total", "Times that frames stopped arriving", ["camera"])
CAMERA_RECONNECTS = Counter("sightline_camera_reconnects_total", "Times that a stream was opened again", ["camera"])
SPOOL_BYTES = Gauge("sightline_spool_bytes", "Messages waiting on this worker's disk for the bus")

# embedder
EMBED_BATCH = Histogram("sightline_embed_batch_crops", "Crops in one encoder pass", buckets=_SIZES)
EMBED_SECONDS = Histogram("sightline_embed_seconds", "One encoder pass, decode of the crops included", buckets=_WORK_S)
EMBEDDED = Counter("sightline_embedded_total", "Tracklets embedded")

# change of models
MODEL_INFO = Gauge("sightline_model_info", "1 for the serving, wanted and answering model", ["role", "digest"])
MODEL_COVERAGE = Gauge(
    "sightline_model_coverage_ratio", "Share of the archive that has a vector of the wanted model, 0 to 1"
)
MODEL_LOAD_FAILURES = Counter("sightline_model_load_failures_total", "Models that could not be loaded", ["service"])
SUCCESSOR_FAILURES = Counter(
    "sightline_successor_failures_total", "Batches of which a model beside the serving one gave no vector"
)
REEMBEDDED = Counter("sightline_reembedded_total", "Archived tracklets embedded again")
REEMBEDDING_FAILURES = Counter(
    "sightline_reembedding_failures_total", "Archived crops and tracklets that could not be embedded again", ["what"]
)

# bus
STREAM_WAITING = Gauge(
    "sightline_stream_waiting_entries", "Entries that a group has not been given yet", ["stream", "group"]
)
STREAM_PENDING = Gauge("sightline_stream_pending_entries", "Entries given and not acknowledged", ["stream", "group"])
DEAD_LETTERS = Counter("sightline_dead_letters_total", "Messages set aside", ["stream", "group"])

# archiver
ARCHIVED_BYTES = Counter("sightline_archived_bytes_total", "Bytes of crops written")

# forgetting
OLDEST_AGE = Gauge("sightline_oldest_age_seconds", "Age of the oldest thing that is still kept", ["camera", "kind"])
FORGOTTEN = Counter(
    "sightline_forgotten_tracklets_total", "Tracklets whose share of a kind was kept long enough", ["kind"]
)
ERASURE_OPEN = Gauge("sightline_erasure_open_seconds", "Since when the longest open erasure is asked for, 0 for none")

# backups
BACKUP_NEWEST = Gauge("sightline_backup_newest_timestamp_seconds", "When the newest whole backup was made, 0 for none")
BACKUP_OLDEST = Gauge("sightline_backup_oldest_timestamp_seconds", "When the oldest backup was made, 0 for none")
BACKUP_FAILURES = Counter("sightline_backup_failures_total", "Times that a backup could not be made or removed")

# disk
DISK_SIZE = Gauge("sightline_disk_size_bytes", "Size of the disk that the data folder lies on")
DISK_FREE = Gauge("sightline_disk_free_bytes", "What is free of it")
DATA_BYTES = Gauge(
    "sightline_data_bytes", "What there is of data on it: database, crops (estimated), spools, redis", ["what"]
)

# matcher
IDENTITIES_OPENED = Counter("sightline_identities_opened_total", "Tracklets that opened a new identity")
IDENTITIES_JOINED = Counter("sightline_identities_joined_total", "Tracklets that joined a known identity")
IDENTITY_REVISIONS = Counter("sightline_identity_revisions_total", "Merges and splits that were published", ["kind"])
MATCH_SECONDS = Histogram("sightline_match_seconds", "One micro-batch: candidates, assignment, commit", buckets=_WORK_S)
MATCH_BATCH = Histogram("sightline_match_batch_tracklets", "Tracklets in one micro-batch", buckets=_SIZES)
GALLERY_ROWS = Gauge("sightline_gallery_rows", "Vectors held by the gallery")
CAPTURE_TO_IDENTITY = Histogram(
    "sightline_capture_to_identity_seconds", "From a tracklet's last frame to its published identity", buckets=_AGE_S
)

# search
QUERY_SECONDS = Histogram(
    "sightline_query_seconds", "One query, from request to ranked identities", ["kind"], buckets=_WORK_S
)
QUERIES = Counter("sightline_queries_total", "Queries by outcome: answered, no_match, error", ["kind", "outcome"])

# logins
LOGINS = Counter("sightline_logins_total", "Logins by outcome: opened, refused, limited", ["outcome"])

# standing queries
WATCHED = Counter("sightline_watched_total", "Tracklets that standing queries were asked about")
ALERTS = Counter("sightline_alerts_total", "Alerts of standing queries: rang, or quiet beyond a budget", ["outcome"])
WEBHOOK_ATTEMPTS = Counter(
    "sightline_webhook_attempts_total", "What became of attempts: delivered, failed, dead", ["webhook", "outcome"]
)

# nightly
NIGHT_OUTCOME = Gauge(
    "sightline_night_outcome", "1 for how the last night ended: promoted, refused, skipped, failed", ["outcome"]
)
NIGHT_SECONDS = Gauge("sightline_night_seconds", "How long the last night's run took")
NIGHT_ENDED = Gauge("sightline_night_ended_timestamp_seconds", "When the last night's run ended, 0 for never")

# every service
SERVICE_ERRORS = Counter("sightline_service_errors_total", "Errors that a loop survived", ["service", "error"])
SERVICE_RESTARTS = Counter("sightline_service_restarts_total", "Services started again by the supervisor", ["service"])
