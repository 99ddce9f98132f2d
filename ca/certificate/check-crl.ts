// Reads a revocation list again that was just signed, from its bytes and with other code than wrote it, before it is published. A list
// that misses a line lets a revoked certificate live; one that nobody can read stops every peer. Either is a bug: nothing leaves then.

import { createHash, verify, type X509Certificate } from 'node:crypto'
import { readCertificate } from '../../mesh/certificate.js'
import { type Element, NotDer, readChildren, readElements } from '../../mesh/der.js'
import { MeshError } from '../../mesh/errors.js'
import type { CrlLine, CrlTemplate } from './crl.js'
import { inSlices } from './slices.js'

const SEQUENCE = 0x30
const INTEGER = 0x02
const BIT_STRING = 0x03
const OCTET_STRING = 0x04
const UTC_TIME = 0x17
const GENERALIZED_TIME = 0x18
const EXTENSIONS = 0xa0
const ENUMERATED = 0x0a

/** The content octets of what must stand there, as hex. */
const ECDSA_WITH_SHA256 = '06082a8648ce3d040302'
const OID = { authorityKeyId: '551d23', crlNumber: '551d14', reasonCode: '551d15' } as const

/**
 * Checks a list against what was meant: signature, issuer bytes, times, number, every line in order, and that it has no extension
 * besides.
 * @throws MeshError ISSUE_CHECK_FAILED naming the first difference
 */
export async function checkCrl(der: Buffer, meant: CrlTemplate, issuer: X509Certificate): Promise<void> {
  try {
    await check(der, meant, issuer)
  } catch (error) {
    if (!(error instanceof NotDer)) throw error
    throw new MeshError('ISSUE_CHECK_FAILED', 'the revocation list just signed is not DER', { cause: error })
  }
}

async function check(der: Buffer, meant: CrlTemplate, issuer: X509Certificate): Promise<void> {
  const [tbs, algorithm, signature] = readChildren(der, SEQUENCE, [SEQUENCE, SEQUENCE, BIT_STRING])
  const [version, inner, name, thisUpdate, nextUpdate, ...rest] = readElements(tbs.content)
  const extensions = rest.pop()
  const revoked = rest.pop()
  const checks: Record<string, () => boolean | Promise<boolean>> = {
    'the signature': () =>
      signature.content[0] === 0 &&
      verify('sha256', tbs.raw, issuer.publicKey, signature.content.subarray(1)),
    'the algorithm': () => isEcdsa(algorithm) && isEcdsa(inner),
    'the version': () => version?.raw.toString('hex') === '020101',
    'the issuer': () => name?.raw.equals(readCertificate(issuer).subjectDer) === true,
    'the validity': () =>
      timeOf(thisUpdate) === meant.thisUpdate &&
      timeOf(nextUpdate) === meant.nextUpdate &&
      meant.thisUpdate < meant.nextUpdate,
    'the extensions': () => extensions?.tag === EXTENSIONS && extensionsHold(extensions, meant, issuer),
    'the lines': () => rest.length === 0 && linesHold(revoked, meant),
  }
  for (const [what, holds] of Object.entries(checks)) {
    if (!(await holds()))
      throw new MeshError('ISSUE_CHECK_FAILED', `${what} of the revocation list just signed is not as meant`)
  }
}

const isEcdsa = (algorithm: Element | undefined): boolean =>
  algorithm?.content.toString('hex') === ECDSA_WITH_SHA256

/** Authority key identifier, then CRL number, neither critical (RFC 5280 §5.2.1, §5.2.3). */
function extensionsHold(extensions: Element, { number }: CrlTemplate, issuer: X509Certificate): boolean {
  const [list] = readChildren(extensions.raw, EXTENSIONS, [SEQUENCE])
  const [keyId, crlNumber, ...more] = readElements(list.content).map(extensionOf)
  if (more.length > 0 || keyId?.id !== OID.authorityKeyId || crlNumber?.id !== OID.crlNumber) return false
  const [key] = readChildren(keyId.value, SEQUENCE, [0x80])
  const [value] = readElements(crlNumber.value)
  return (
    key.content.equals(keyIdOf(issuer)) &&
    value?.tag === INTEGER &&
    value.content.length <= 20 &&
    BigInt(`0x${value.content.toString('hex')}`) === BigInt(number) &&
    (value.content[0] ?? 0x80) < 0x80
  )
}

/** @throws NotDer when it is critical: a boolean would stand between */
function extensionOf({ raw }: Element): { id: string; value: Buffer } {
  const [id, value] = readChildren(raw, SEQUENCE, [0x06, OCTET_STRING])
  return { id: id.content.toString('hex'), value: value.content }
}

async function linesHold(revoked: Element | undefined, { lines, thisUpdate }: CrlTemplate): Promise<boolean> {
  if (revoked === undefined) return lines.length === 0
  if (revoked.tag !== SEQUENCE) return false
  const found = readElements(revoked.content)
  if (found.length === 0 || found.length !== lines.length) return false
  let differing = 0
  await inSlices(lines, (line, index) => {
    const element = found[index]
    if (element === undefined || !lineHolds(element, line, thisUpdate)) differing += 1
  })
  return differing === 0
}

function lineHolds(element: Element, line: CrlLine, thisUpdate: number): boolean {
  const [serial, date, extensions, ...more] = readElements(element.content)
  const at = timeOf(date)
  return (
    element.tag === SEQUENCE &&
    more.length === 0 &&
    serial?.tag === INTEGER &&
    hexOf(serial.content) === hexOf(Buffer.from(line.serial, 'hex')) &&
    at !== undefined &&
    at <= thisUpdate &&
    at <= line.revokedAt &&
    (at === thisUpdate || line.revokedAt - at < 1000) &&
    reasonOf(extensions) === line.reasonCode
  )
}

/** @returns null when there is none, -1 when it is none that we write */
function reasonOf(extensions: Element | undefined): number | null {
  if (extensions === undefined) return null
  const [only] = readChildren(extensions.raw, SEQUENCE, [SEQUENCE])
  const { id, value } = extensionOf(only)
  return id === OID.reasonCode && value.length === 3 && value[0] === ENUMERATED ? (value[2] ?? -1) : -1
}

/** The number without leading zeros. */
const hexOf = (octets: Buffer): string => octets.toString('hex').replace(/^(00)+(?=.)/, '')

/** Instant of a Time, ms since epoch; undefined when it is none that DER allows (RFC 5280 §4.1.2.5). */
function timeOf(element: Element | undefined): number | undefined {
  const text = element?.content.toString('latin1') ?? ''
  const digits =
    element?.tag === UTC_TIME && /^\d{12}Z$/.test(text)
      ? `${Number(text.slice(0, 2)) < 50 ? '20' : '19'}${text}`
      : text
  if (!/^\d{14}Z$/.test(digits)) return undefined
  if ((element?.tag === GENERALIZED_TIME) !== digits.slice(0, 4) >= '2050') return undefined
  const part = (from: number, length = 2): string => digits.slice(from, from + length)
  return Date.parse(`${part(0, 4)}-${part(4)}-${part(6)}T${part(8)}:${part(10)}:${part(12)}Z`)
}

/** SHA-1 of the public key's bits, taken from the certificate (RFC 5280 §4.2.1.2, method 1). */
function keyIdOf(issuer: X509Certificate): Buffer {
  const spki = issuer.publicKey.export({ format: 'der', type: 'spki' })
  const [, bits] = readChildren(spki, SEQUENCE, [SEQUENCE, BIT_STRING])
  return createHash('sha1').update(bits.content.subarray(1)).digest()
}
