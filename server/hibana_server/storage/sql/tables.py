"""Tables of the three databases. Times are microseconds since 1970, UTC."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

_NAMES = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}

registry = MetaData(naming_convention=_NAMES)
executions_metadata = MetaData(naming_convention=_NAMES)
audit_metadata = MetaData(naming_convention=_NAMES)

modules = Table(
    "modules",
    registry,
    Column("uid", Text, primary_key=True),
    Column("tier", Text, nullable=False),
    # Tier as a number, the first in lists highest, so that one descending index serves the order of lists.
    Column("tier_rank", SmallInteger, nullable=False),
    Column("namespace", Text, nullable=False),  # the owner for the user tier, empty otherwise
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("is_public", Boolean, nullable=False),
    Column("labels", Text, nullable=False),  # JSON object
    # Name, description and labels, case-folded: databases disagree on what a letter's case is.
    Column("search_text", Text, nullable=False),
    Column("memory_bytes", BigInteger),
    Column("timeout", Float),
    Column("live_version", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("delete_time", BigInteger),
    Column("status_before", Text),  # what undeleting brings back; NULL like active
    Column("sensitive_input", Boolean),  # NULL like false
    UniqueConstraint("tier", "namespace", "name"),
    # One for each way into a list (see module_filter). What comes after the uid is there to count by.
    Index("ix_modules_all", "status", "tier_rank", "create_time", "uid", "live_version"),
    Index("ix_modules_own", "owner", "status", "tier_rank", "create_time", "uid", "live_version"),
    Index("ix_modules_public", "is_public", "status", "tier_rank", "create_time", "uid", "owner", "live_version"),
)

allowed_users = Table(
    "allowed_users",
    registry,
    Column("module_uid", Text, ForeignKey(modules.c.uid), primary_key=True),
    Column("subject", Text, primary_key=True),
    Index(None, "subject"),
)

versions = Table(
    "versions",
    registry,
    Column("module_uid", Text, ForeignKey(modules.c.uid), primary_key=True),
    Column("version", Text, primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("facts", LargeBinary, nullable=False),  # JSON of domain.modules.ModuleFacts
    Column("creator", Text, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("publish_time", BigInteger),
    Index(None, "module_uid", "create_time", "version"),
    Index(None, "module_uid", "size"),
    Index(None, "sha256"),
)

# Versions that are gone, and whose labels may come back under their names with the same bytes only.
tombstones = Table(
    "tombstones",
    registry,
    Column("tier", Text, primary_key=True),
    Column("namespace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
)

# What changes were answered, by the id their caller gave them.
requests = Table(
    "requests",
    registry,
    Column("caller", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("answer", LargeBinary, nullable=False),  # zlib of msgpack of domain.requests.Answer
    Index(None, "time"),
)

# What admins set for single subjects; NULL leaves the default. A row stays when it says nothing any more: its revision,
# which every change raises above all others, tells other processes so.
quotas = Table(
    "quotas",
    registry,
    Column("subject", Text, primary_key=True),
    Column("max_modules", BigInteger),
    Column("max_total_bytes", BigInteger),
    Column("max_versions_per_module", BigInteger),
    Column("max_requests_per_minute", BigInteger),
    Column("max_cpu_per_minute", Float),  # seconds
    Column("max_concurrent_executions", BigInteger),
    Column("revision", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Index(None, "revision"),
)

# Credentials for machines. What is stored of a key is a hash; when it was last used is in the other file.
api_keys = Table(
    "api_keys",
    registry,
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("creator", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("expire_time", BigInteger, nullable=False),
    Column("revoke_time", BigInteger),
    # When it ceases to hold, or ceased: the earlier of the two above.
    Column("end_time", BigInteger, nullable=False),
    # Of the request that made it, where that had an id.
    Column("request_id", Text),
    Column("request_digest", LargeBinary),
    UniqueConstraint("creator", "request_id"),
    Index(None, "subject", "create_time", "id"),
    Index(None, "create_time", "id"),
    Index(None, "end_time"),
)

# What the audit log is told of changes, in the transaction of each, until it has taken it (services/audit.py).
audit_outbox = Table(
    "audit_outbox",
    registry,
    Column("number", Integer, primary_key=True),
    Column("entry", LargeBinary, nullable=False),  # msgpack of domain.audit.Entry
    sqlite_autoincrement=True,  # a number never comes back: one that was taken stays taken
)

executions = Table(
    "executions",
    executions_metadata,
    Column("uid", Text, primary_key=True),  # UUIDv7: its order is the order of creation
    Column("module_uid", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("function", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("outcome", Text),
    Column("cache", Text),
    Column("request_id", Text, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("start_time", BigInteger),
    Column("end_time", BigInteger),
    Column("execution_ns", BigInteger, nullable=False),
    Column("cpu_ns", BigInteger, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("limit_memory_bytes", BigInteger, nullable=False),
    Column("limit_timeout", Float, nullable=False),  # seconds
    Column("limit_output_bytes", BigInteger, nullable=False),
    # Apart from the detail: lists show it, and the sweep of lost records writes it.
    Column("failure", LargeBinary),  # msgpack of domain.executions.Failure
    Column("detail", LargeBinary, nullable=False),  # msgpack of input and output
    # Columns of later releases come last, here and in the journal; execution_rows tells what older rows have in them.
    Column("trace_id", Text, nullable=False, server_default=text("''")),
    Column("holder", Text, nullable=False, server_default=text("''")),  # of an open record: whose lease keeps it open
    Column("requested", LargeBinary),  # msgpack of domain.executions.Requested; NULL where no id is answered again
    Column("payloads", Text),  # JSON array of digests; triggers keep execution_payloads by it
    Column("module_reference", Text, nullable=False, server_default=text("''")),
    Column("tier", Text, nullable=False, server_default=text("''")),  # of the module; empty in rows of old releases
    Column("replay_of", Text, nullable=False, server_default=text("''")),  # uid of the execution that it replays
    Column("payload_sizes", Text),  # JSON array of the sizes of `payloads`, bytes, in their order
    # Each index costs a page of log in every record's commit: these three serve a caller's own list, a
    # module's list, and the sweep, which finds next to nothing in its own. What comes after the uid is asked of rows on
    # the way, and answered by the index.
    Index(None, "caller", "uid", "version", "function"),
    Index(None, "module_uid", "uid", "version", "function"),
    Index("ix_executions_open", "uid", sqlite_where=text("state <> 'done'"), postgresql_where=text("state <> 'done'")),
    # Only what was called with an id is in this one. Not unique: a record is never refused for its id.
    # services/requests.py sees to it that an id runs once.
    Index(
        "ix_executions_requested",
        "caller",
        "request_id",
        sqlite_where=text("requested IS NOT NULL"),
        postgresql_where=text("requested IS NOT NULL"),
    ),
    # Only executions that failed are in these: what ends OK, nearly all, costs no page of theirs.
    *(
        Index(
            f"ix_executions_{name}",
            *columns,
            "outcome",
            "uid",
            sqlite_where=text("outcome <> 'ok'"),
            postgresql_where=text("outcome <> 'ok'"),
        )
        for name, columns in (
            ("failed", ()),
            ("caller_failed", ("caller",)),
            ("module_failed", ("module_uid",)),
        )
    ),
    # The same without regard to how they failed.
    *(
        Index(
            f"ix_executions_{name}",
            *columns,
            sqlite_where=text("outcome <> 'ok'"),
            postgresql_where=text("outcome <> 'ok'"),
        )
        for name, columns in (
            ("all_failed", ("uid",)),
            ("caller_all_failed", ("caller", "uid", "version", "function")),
            ("module_all_failed", ("module_uid", "uid", "version", "function")),
        )
    ),
)

# Processes that run executions. One whose lease has expired is taken for dead, and its open records for lost.
leases = Table(
    "leases",
    executions_metadata,
    Column("holder", Text, primary_key=True),
    Column("until", BigInteger, nullable=False),
)

# Which records need what is kept beside them, kept by triggers of the table above: a payload that no row names goes.
execution_payloads = Table(
    "execution_payloads",
    executions_metadata,
    Column("sha256", Text, primary_key=True),
    Column("uid", Text, primary_key=True),
)

# How much the records of each tier keep beside them, kept by triggers like the references: what several records of a
# tier name counts once.
tier_payloads = Table(
    "tier_payloads",
    executions_metadata,
    Column("tier", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("records", BigInteger, nullable=False),
)

# Executions that are DONE, counted by triggers of the table above: in the transaction that stores the record,
# so that each counts once, and without Python in the way of the calls.
execution_counts = Table(
    "execution_counts",
    executions_metadata,
    Column("module_uid", Text, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("cache", Text, primary_key=True),  # empty where there is none
    Column("bucket", SmallInteger, primary_key=True),  # index into domain.numbers.BOUNDS_NS
    Column("count", BigInteger, nullable=False),
    Column("last_time", BigInteger, nullable=False),
)

# Records that are kept of executions that are DONE, and about the bytes they take, by triggers like the counts. Unlike
# those they shrink when records are removed.
execution_totals = Table(
    "execution_totals",
    executions_metadata,
    Column("caller", Text, primary_key=True),
    Column("module_uid", Text, primary_key=True),
    Column("tier", Text, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Index(None, "module_uid"),
)

# When API keys were last used: here and not beside the keys, where every commit costs all processes their caches.
api_key_uses = Table(
    "api_key_uses",
    executions_metadata,
    Column("id", Text, primary_key=True),
    Column("time", BigInteger, nullable=False),
)

# Entries never change; triggers refuse it. Only what retention has cut off from a chain's old end may be deleted.
audit_entries = Table(
    "audit_entries",
    audit_metadata,
    Column("uid", Text, primary_key=True),  # UUIDv7: its order is the order of happening
    Column("kind", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("last_time", BigInteger, nullable=False),
    UniqueConstraint("kind", "sequence"),
    Index(None, "subject", "uid"),
    Index(None, "action", "uid"),
    Index(None, "resource", "uid"),
    Index(None, "kind", "uid"),
)

# How far each chain goes, and up to where it is cut; see domain.audit_chain.ChainState.
audit_chains = Table(
    "audit_chains",
    audit_metadata,
    Column("kind", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("cut", BigInteger, nullable=False),
    Column("cut_hash", LargeBinary, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("seal", LargeBinary, nullable=False),
)
