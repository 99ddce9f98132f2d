// The schema of the CA's database. Migrations are numbered from 1 and never edited. Portable SQL only: PostgreSQL is to stand
// behind the same methods. Instants are milliseconds since the epoch; serials, hashes and UUIDs lower-case text.

import { AUDIT_MIGRATION } from './audit.js'

export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE mesh (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    trust_domain TEXT NOT NULL,
    address TEXT NOT NULL,
    generation TEXT NOT NULL,
    epoch INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE members (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    registration TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('registered', 'enrolled', 'revoked')),
    ttl_seconds INTEGER,
    address TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
  ) STRICT;

  CREATE TABLE revoked_ids (
    id TEXT NOT NULL PRIMARY KEY,
    reason TEXT NOT NULL,
    revoked_at INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE instances (
    instance_id TEXT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    is_client INTEGER NOT NULL CHECK (is_client IN (0, 1)),
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER
  ) STRICT;

  CREATE TABLE certificates (
    serial TEXT NOT NULL PRIMARY KEY,
    issuer TEXT NOT NULL,
    id TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    parent_serial TEXT UNIQUE,
    public_key_hash TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('token', 'local-admin', 'renewal', 'issue', 'server')),
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    issued_at INTEGER NOT NULL,
    revoked_at INTEGER,
    superseded_at INTEGER,
    pem TEXT NOT NULL
  ) STRICT;
  CREATE INDEX certificates_by_id ON certificates (id, not_after);
  CREATE INDEX certificates_by_instance ON certificates (instance_id);
  CREATE INDEX certificates_by_key ON certificates (public_key_hash);
  CREATE INDEX certificates_revoked ON certificates (revoked_at, not_after);

  CREATE TABLE tokens (
    secret_hash TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    registration TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    redeemed_at INTEGER,
    cancelled_at INTEGER
  ) STRICT;

  CREATE TABLE policies (
    version INTEGER NOT NULL PRIMARY KEY,
    pushed_at INTEGER NOT NULL,
    yaml TEXT NOT NULL
  ) STRICT;

  CREATE TABLE endpoints (
    instance_id TEXT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    announced_at INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE actions (
    seq INTEGER NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    object TEXT NOT NULL,
    outcome TEXT NOT NULL
  ) STRICT;
  `,
  // Certificate revocation lists, one of each issuer, and the reasons they give. `number` is the last one given out, which may be
  // ahead of the list that is kept.
  `
  CREATE TABLE crls (
    issuer TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL,
    published_at INTEGER,
    next_update INTEGER,
    der BLOB
  ) STRICT;

  ALTER TABLE certificates ADD COLUMN revoked_reason TEXT;
  `,
  // The trust bundle that outsiders are given: its sequence rises whenever its content changes.
  `
  CREATE TABLE trust_bundle (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    sequence INTEGER NOT NULL,
    content TEXT NOT NULL
  ) STRICT;
  `,
  // grace, clone policy and suspension of members; why a certificate was withdrawn (null in older rows: revoked)
  `
  ALTER TABLE members ADD COLUMN grace_seconds INTEGER;
  ALTER TABLE members ADD COLUMN on_clone TEXT;
  ALTER TABLE members ADD COLUMN suspended_at INTEGER;
  ALTER TABLE certificates ADD COLUMN revoked_for TEXT;
  `,
  // The CAs of this home and the rotation that is under way. What the files root.pem and issuing.pem say is copied from here.
  `
  CREATE TABLE authorities (
    seq INTEGER NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    usage TEXT NOT NULL CHECK (usage IN ('root', 'issuing')),
    state TEXT NOT NULL CHECK (state IN ('next', 'current', 'previous', 'retired')),
    issuer TEXT NOT NULL,
    signed_by TEXT NOT NULL,
    label TEXT NOT NULL,
    pem TEXT NOT NULL,
    cross_pem TEXT,
    revoked_at INTEGER
  ) STRICT;

  CREATE TABLE rotation (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('issuing', 'root')),
    compromised INTEGER NOT NULL CHECK (compromised IN (0, 1)),
    phase TEXT NOT NULL CHECK (phase IN ('prepare', 'distribute', 'renew')),
    started_at INTEGER NOT NULL,
    phase_at INTEGER NOT NULL,
    epoch INTEGER
  ) STRICT;

  CREATE TABLE rotation_acks (instance_id TEXT NOT NULL PRIMARY KEY) STRICT;

  CREATE INDEX certificates_by_issuer ON certificates (issuer, not_after);
  `,
  // the audit in the format of every ledger, append-only; takes over the rows of `actions`
  AUDIT_MIGRATION,
  // A CA restored from a backup: since when it waits, for whom, and what they say was withdrawn in the lost time.
  `
  CREATE TABLE recovery (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    from_generation TEXT NOT NULL,
    taken_at INTEGER NOT NULL,
    restored_at INTEGER NOT NULL,
    ended_at INTEGER,
    ended_by TEXT
  ) STRICT;

  CREATE TABLE awaited (
    instance_id TEXT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    returned_at INTEGER
  ) STRICT;

  CREATE TABLE claims (
    object TEXT NOT NULL,
    claimed_by TEXT NOT NULL,
    id TEXT NOT NULL,
    issuer TEXT,
    serial TEXT,
    expires_at INTEGER,
    claimed_at INTEGER NOT NULL,
    in_force_at INTEGER,
    PRIMARY KEY (object, claimed_by)
  ) STRICT;
  `,
  // of the withdrawn only: a certificate that is issued writes one index less
  `
  DROP INDEX certificates_revoked;
  CREATE INDEX certificates_revoked ON certificates (not_after) WHERE revoked_at IS NOT NULL;
  `,
]
