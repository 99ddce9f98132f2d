// Writes and signs certificate revocation lists (RFC 5280 §5): version 2, full lists only, no issuing distribution point and no
// deltas, so that every verifier that reads CRLs at all reads these. What is signed here is read again by check-crl.ts before
// anybody gets it.

import {
  bitString,
  enumerated,
  explicit,
  implicit,
  integer,
  octetString,
  oid,
  sequence,
  time,
} from '../../mesh/der-writer.js'
import { checkCrl } from './check-crl.js'
import { BACKDATE_MS } from './profile.js'
import type { Signer } from './sign.js'
import { inSlices } from './slices.js'
import { SIGNATURE_ALGORITHM } from './template.js'

/** A certificate that is withdrawn. */
export interface CrlLine {
  /** Lower-case hex, even digits. */
  readonly serial: string
  /** Instant, ms since epoch. */
  readonly revokedAt: number
  /** CRLReason; null is unspecified, which is left out (RFC 5280 §5.3.1). */
  readonly reasonCode: number | null
}

export interface CrlTemplate {
  /** Higher than every number of this issuer before. */
  readonly number: number
  /** Instants, ms since epoch, whole seconds. */
  readonly thisUpdate: number
  readonly nextUpdate: number
  readonly lines: readonly CrlLine[]
}

/** CRLReason without what a revocation that is final cannot be: a hold, removal from a delta; and unspecified. */
const REASON_CODES: ReadonlyMap<string, number> = new Map([
  ['keycompromise', 1],
  ['cacompromise', 2],
  ['affiliationchanged', 3],
  ['superseded', 4],
  ['cessationofoperation', 5],
  ['privilegewithdrawn', 9],
  ['aacompromise', 10],
])

/**
 * The CRLReason that an operator's words begin with: `keyCompromise`, `key-compromise: stolen laptop`.
 * @returns null for any other words
 */
export function reasonCodeOf(reason: string | null): number | null {
  const word = (reason ?? '').split(':', 1)[0] ?? ''
  return REASON_CODES.get(word.replace(/[^A-Za-z]/g, '').toLowerCase()) ?? null
}

const VERSION_2 = integer(1)
const AUTHORITY_KEY_ID = oid('2.5.29.35')
const CRL_NUMBER = oid('2.5.29.20')
const REASON_CODE = oid('2.5.29.21')

/**
 * Signs a list, and reads again what was signed.
 * @returns DER
 * @throws MeshError ISSUE_CHECK_FAILED; and what the key throws when it signs
 */
export async function signCrl(template: CrlTemplate, signer: Signer): Promise<Buffer> {
  const tbs = await writeTemplate(template, signer)
  const der = sequence(tbs, SIGNATURE_ALGORITHM, bitString(await signer.key.sign(tbs)))
  await checkCrl(der, template, signer.certificate)
  return der
}

/**
 * What a list published at `now` says of its time. It is dated back like every certificate: a verifier whose clock is slow would refuse
 * a list of the future, and with it every peer.
 */
export const thisUpdateAt = (now: number): number => Math.floor((now - BACKDATE_MS) / 1000) * 1000

async function writeTemplate(
  { number, thisUpdate, nextUpdate, lines }: CrlTemplate,
  { issuer }: Signer,
): Promise<Buffer> {
  if (issuer.keyId === null) throw new RangeError('a CRL names the key of its issuer')
  return sequence(
    VERSION_2,
    SIGNATURE_ALGORITHM,
    issuer.subjectDer,
    time(thisUpdate),
    time(nextUpdate),
    // a list of nothing is absent, not empty (RFC 5280 §5.1.2.6)
    ...(lines.length === 0 ? [] : [sequence(Buffer.concat(await writeLines(lines, thisUpdate)))]),
    explicit(
      0,
      sequence(
        sequence(AUTHORITY_KEY_ID, octetString(sequence(implicit(0, issuer.keyId)))),
        sequence(CRL_NUMBER, octetString(integer(number))),
      ),
    ),
  )
}

/** Dates are never after the list's own: some verifiers (Java) take a revocation of the future for none. */
async function writeLines(lines: readonly CrlLine[], thisUpdate: number): Promise<Buffer[]> {
  const written: Buffer[] = []
  const reasons = new Map<number, Buffer>()
  await inSlices(lines, ({ serial, revokedAt, reasonCode }) => {
    const at = Math.min(Math.floor(revokedAt / 1000) * 1000, thisUpdate)
    const head = [integer(Buffer.from(serial, 'hex')), time(at)]
    if (reasonCode === null) {
      written.push(sequence(...head))
      return
    }
    const reason = reasons.get(reasonCode) ?? writeReason(reasonCode)
    reasons.set(reasonCode, reason)
    written.push(sequence(...head, reason))
  })
  return written
}

/** The extensions of a line, not critical. */
const writeReason = (code: number): Buffer => sequence(sequence(REASON_CODE, octetString(enumerated(code))))
