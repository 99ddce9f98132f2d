// Rotation of the CA's own keys, on its admin wire (the Unix socket only): what is open, what the root must sign, what it signed. The
// root's key is used by the command that talks here, never by the serving CA.

import {
  flag,
  integer,
  lines,
  listOf,
  nullable,
  oneOf,
  type Read,
  record,
  text,
  withDefault,
  word,
} from '../parse.js'
import { parseSpiffeId, parseTrustDomain } from '../spiffe-id.js'

const rotationKind = oneOf('issuing', 'root')

/** Somebody whom a rotation waits for; `until`: when it is waited for no more. */
const awaited = record({ id: text(2048), instanceId: text(36), until: integer(0) })

/** What `status` shows of an open rotation. */
export const READ_ROTATION = record({
  kind: rotationKind,
  compromised: flag,
  phase: oneOf('prepare', 'distribute', 'renew'),
  startedAt: integer(0),
  since: integer(0),
  /** Of `distribute`: have not acknowledged; of `renew`: may still use a leaf of the old CA. */
  waitsFor: listOf(awaited, 100_000),
  /** Join tokens that know only the old root are good until then; 0: there is none. */
  tokensUntil: integer(0),
  /** Suspended: they cannot be told of a new root, and need a token when they are resumed. */
  leavesBehind: withDefault(listOf(word(parseSpiffeId), 100_000), []),
})
export type RotationShown = Read<typeof READ_ROTATION>

/** POST /v1/rotation opens one, or finds the open one. */
export const READ_ROTATE = record({ kind: rotationKind, compromised: flag })
export type Rotate = Read<typeof READ_ROTATE>

/** What the root is to sign. */
export const READ_TO_SIGN = record({
  kind: rotationKind,
  trustDomain: word(parseTrustDomain, 255),
  /** The present root, and where its key was. */
  rootPem: lines(65_536),
  rootKeyLabel: word(labelOfRoot, 64),
  /** Label for the key of the next root. */
  rootLabel: word(labelOfRoot, 64),
  /** SubjectPublicKeyInfo of the new issuing CA, DER in base64. */
  issuingSpki: text(1024),
  /** Issuing CAs of the present root that are withdrawn, for its revocation list. */
  revoked: listOf(record({ serial: text(40), revokedAt: integer(0) }), 64),
})
export type ToSign = Read<typeof READ_TO_SIGN>

/** The answer to READ_ROTATE: `toSign` null when the root has signed already. */
export const READ_ROTATION_OPEN = record({ rotation: READ_ROTATION, toSign: nullable(READ_TO_SIGN) })
export type RotationOpen = Read<typeof READ_ROTATION_OPEN>

/** PUT /v1/rotation/certificates: what the root signed. */
export const READ_SIGNED = record({
  issuingPem: lines(65_536),
  rootPem: nullable(lines(65_536)),
  crossPem: nullable(lines(65_536)),
  crls: listOf(
    record({
      number: integer(1),
      publishedAt: integer(0),
      nextUpdate: integer(0),
      issuer: text(64),
      der: text(4_194_304),
    }),
    2,
  ),
})
export type Signed = Read<typeof READ_SIGNED>

/** POST /v1/rotation/force: go on without those that it waits for. GET /v1/rotation: READ_ROTATION_NOW. All answer it. */
export const READ_ROTATION_NOW = record({ rotation: nullable(READ_ROTATION) })
export type RotationNow = Read<typeof READ_ROTATION_NOW>

function labelOfRoot(raw: string): 'root' | `root-${string}` {
  if (raw === 'root') return raw
  if (!/^root-[0-9a-f]{1,40}$/.test(raw)) throw new Error('not the label of a root key')
  return raw as `root-${string}`
}
