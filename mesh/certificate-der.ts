// Reads a certificate of the form that our CA gives from its bytes, with none of the code that wrote it: der.ts and RFC 5280 §4.1. It is as
// strict as the profile needs, not as wide as X.509 is: what it does not know is NotDer.

import { type Element, NotDer, readChildren, readElements, readOid, TAG } from './der.js'

export interface ReadCertificate {
  /** The bytes that were signed. */
  readonly tbsDer: Buffer
  /** ECDSA-Sig-Value, DER. */
  readonly signature: Buffer
  /** AlgorithmIdentifiers, DER, lower-case hex: inside what was signed, and outside. */
  readonly algorithms: readonly [inner: string, outer: string]
  /** Content octets as encoded, lower-case hex. */
  readonly serial: string
  readonly issuerDer: Buffer
  readonly subjectDer: Buffer
  /** Instants, ms since epoch. */
  readonly notBefore: number
  readonly notAfter: number
  readonly spkiDer: Buffer
  /** In order. `value` is what the OCTET STRING holds. */
  readonly extensions: readonly { readonly id: string; readonly critical: boolean; readonly value: Buffer }[]
}

const VERSION_3 = Buffer.from('a003020102', 'hex')
const TRUE = Buffer.from('0101ff', 'hex')

/** @throws NotDer */
export function readCertificateDer(der: Buffer): ReadCertificate {
  const { sequence, bitString, integer, context0, context3 } = TAG
  const [tbs, outer, bits] = readChildren(der, sequence, [sequence, sequence, bitString])
  const [version, serial, inner, issuer, validity, subject, spki, extensions] = readChildren(
    tbs.raw,
    sequence,
    [context0, integer, sequence, sequence, sequence, sequence, sequence, context3],
  )
  if (!version.raw.equals(VERSION_3)) throw new NotDer('a version other than 3')
  if (bits.content[0] !== 0) throw new NotDer('a signature of odd bits')
  const [notBefore, notAfter, ...more] = readElements(validity.content)
  if (notBefore === undefined || notAfter === undefined || more.length > 0) throw new NotDer('a validity')
  const [list] = readChildren(extensions.raw, context3, [sequence])
  return {
    tbsDer: tbs.raw,
    signature: bits.content.subarray(1),
    algorithms: [inner.raw.toString('hex'), outer.raw.toString('hex')],
    serial: serial.content.toString('hex'),
    issuerDer: issuer.raw,
    subjectDer: subject.raw,
    notBefore: readTime(notBefore),
    notAfter: readTime(notAfter),
    spkiDer: spki.raw,
    extensions: readElements(list.content).map(readExtension),
  }
}

function readExtension({ tag, content }: Element): ReadCertificate['extensions'][number] {
  const parts = readElements(content)
  const [id] = parts
  const value = parts.at(-1)
  const isRight = tag === TAG.sequence && id?.tag === TAG.oid && value?.tag === TAG.octetString
  // FALSE is the default, so a criticality that stands there is TRUE
  const criticalityHolds = parts.length === 2 || (parts.length === 3 && parts[1]?.raw.equals(TRUE) === true)
  if (!isRight || !criticalityHolds) throw new NotDer('an extension')
  return { id: readOid(id), critical: parts.length === 3, value: value.content }
}

/**
 * The attributes of a Name, one in each relative name, in order.
 * @throws NotDer
 */
export function readName(nameDer: Buffer): { id: string; value: string }[] {
  const [name, ...more] = readElements(nameDer)
  if (name?.tag !== TAG.sequence || more.length > 0) throw new NotDer('not one name')
  return readElements(name.content).map((relative) => {
    const [attribute] = readChildren(relative.raw, TAG.set, [TAG.sequence])
    const [type, value, ...rest] = readElements(attribute.content)
    if (type?.tag !== TAG.oid || value === undefined || rest.length > 0) throw new NotDer('an attribute')
    return { id: readOid(type), value: readString(value) }
  })
}

function readString({ tag, content }: Element): string {
  if (tag === TAG.utf8String) return content.toString('utf8')
  const text = content.toString('latin1')
  if (tag !== TAG.printableString || !/^[A-Za-z0-9 '()+,./:=?-]*$/.test(text)) throw new NotDer('a string')
  return text
}

/**
 * Instant of a Time, ms since epoch: UTCTime through 2049, GeneralizedTime from 2050, with seconds and `Z` (RFC 5280 §4.1.2.5).
 * @throws NotDer
 */
export function readTime({ tag, content }: Element): number {
  const text = content.toString('latin1')
  const isShort = tag === TAG.utcTime && /^\d{12}Z$/.test(text)
  const isLong = tag === TAG.generalizedTime && /^\d{14}Z$/.test(text) && text >= '2050'
  if (!isShort && !isLong) throw new NotDer('a time')
  const year = isLong ? Number(text.slice(0, 4)) : Number(text.slice(0, 2)) + (text < '50' ? 2000 : 1900)
  const rest = text.slice(isLong ? 4 : 2)
  const part = (at: number): number => Number(rest.slice(at, at + 2))
  const instant = Date.UTC(year, part(0) - 1, part(2), part(4), part(6), part(8))
  // 31 February would be taken for 3 March, and the thirteenth month for January
  const read = new Date(instant)
  const isDay = read.getUTCMonth() === part(0) - 1 && read.getUTCDate() === part(2)
  if (!isDay || part(4) > 23 || part(6) > 59 || part(8) > 59) throw new NotDer('a time that no calendar has')
  return instant
}
