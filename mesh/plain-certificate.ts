// The short way to what a certificate says: certificates of the form that CAs of meshes give, read with der.ts alone. Whatever is of
// another form, right or wrong, is left to the full reader of certificate.ts: this one never refuses, and never guesses.

import type { Certificate, KeyUsage } from './certificate.js'
import { readCertificateDer, readName } from './certificate-der.js'
import { type Element, NotDer, readChildren, readElements, readOid, TAG } from './der.js'

/** What the certificate says, but its own serial number. */
export type Plain = Omit<Certificate, 'serial'>

/** AlgorithmIdentifiers of ECDSA with SHA-256, SHA-384, SHA-512: DER, hex (RFC 5758 §3.2). */
const SIGNED_WITH_ECDSA = new Set(['02', '03', '04'].map((hash) => `300a06082a8648ce3d0403${hash}`))
/** AlgorithmIdentifiers of keys on P-256 and P-384: DER, hex (RFC 5480 §2.1.1). */
const CURVES = new Set(['301306072a8648ce3d020106082a8648ce3d030107', '301006072a8648ce3d020106052b81040022'])
const SUBJECT_SERIAL_NUMBER = '2.5.4.5'
/** Of RFC 5280 §4.2.1; the full reader may know others. */
const ID = {
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  alternativeNames: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const
/** GeneralName: dNSName, uniformResourceIdentifier, iPAddress. */
const DNS = 0x82
const URI = 0x86
const IP = 0x87
/** keyIdentifier of an AuthorityKeyIdentifier. */
const KEY_ID = 0x80
const TRUE = Buffer.from('0101ff', 'hex')

interface Extension {
  readonly critical: boolean
  readonly value: Buffer
}
type Extensions = ReadonlyMap<string, Extension>

/** @returns undefined when it is not of that form */
export function readPlain(der: Buffer): Plain | undefined {
  try {
    return read(der)
  } catch (error) {
    if (error instanceof NotDer) return undefined
    throw error
  }
}

function read(der: Buffer): Plain {
  const { algorithms, spkiDer, subjectDer, issuerDer, notBefore, notAfter, extensions } =
    readCertificateDer(der)
  const [inner, outer] = algorithms
  if (inner !== outer || !SIGNED_WITH_ECDSA.has(inner)) throw new NotDer('another signature')
  const [algorithm, key] = readChildren(spkiDer, TAG.sequence, [TAG.sequence, TAG.bitString])
  if (!CURVES.has(algorithm.raw.toString('hex')) || key.content[0] !== 0) throw new NotDer('another key')
  readName(issuerDer)
  const known = byId(extensions)
  checkKeyIds(known)
  const constraints = known.get(ID.basicConstraints)
  const extended = known.get(ID.extendedKeyUsage)
  return {
    subjectDer,
    issuerDer,
    notBefore,
    notAfter,
    ...constraintsOf(constraints?.value),
    isCaCritical: constraints?.critical ?? false,
    keyUsage: keyUsageOf(known.get(ID.keyUsage)),
    extendedKeyUsage: extended === undefined ? null : usagesOf(extended.value),
    uris: urisOf(known.get(ID.alternativeNames)?.value),
    subjectSerialNumber: serialNumberOf(subjectDer),
    isSignedWithEcdsa: true,
  }
}

function byId(extensions: ReturnType<typeof readCertificateDer>['extensions']): Extensions {
  const ids = new Set<string>(Object.values(ID))
  const known = new Map<string, Extension>()
  for (const extension of extensions) {
    const { id } = extension
    if (!ids.has(id) || known.has(id)) throw new NotDer('another extension')
    known.set(id, extension)
  }
  // these two are not among what may be critical
  if (known.get(ID.subjectKeyId)?.critical === true || known.get(ID.authorityKeyId)?.critical === true)
    throw new NotDer('a critical key identifier')
  return known
}

/** Nobody reads them, but what holds something else there is not of this form. */
function checkKeyIds(known: Extensions): void {
  const own = known.get(ID.subjectKeyId)
  if (own !== undefined) only(own.value, TAG.octetString)
  const authority = known.get(ID.authorityKeyId)
  if (authority !== undefined) readChildren(authority.value, TAG.sequence, [KEY_ID])
}

function constraintsOf(value: Buffer | undefined): Pick<Plain, 'isCa' | 'pathLength'> {
  if (value === undefined) return { isCa: false, pathLength: null }
  const [ca, length, ...more] = readElements(only(value, TAG.sequence).content)
  if (ca === undefined) return { isCa: false, pathLength: null }
  if (!ca.raw.equals(TRUE) || more.length > 0) throw new NotDer('basic constraints')
  return { isCa: true, pathLength: length === undefined ? null : smallInteger(length) }
}

function smallInteger({ tag, content }: Element): number {
  const [octet] = content
  if (tag !== TAG.integer || content.length !== 1 || octet === undefined || octet > 0x7f)
    throw new NotDer('a path length')
  return octet
}

/** One octet of bits, of which the last that is set is the last that is there (X.690 §11.2.2). */
function keyUsageOf(extension: Extension | undefined): KeyUsage | null {
  if (extension === undefined) return null
  const { content } = only(extension.value, TAG.bitString)
  const [unused, bits] = content
  const isNamed = unused !== undefined && bits !== undefined && content.length === 2 && unused < 8
  if (!isNamed || bits % 2 ** unused !== 0 || (bits >> unused) % 2 !== 1) throw new NotDer('a key usage')
  return {
    critical: extension.critical,
    digitalSignature: (bits & 0x80) !== 0,
    keyCertSign: (bits & 0x04) !== 0,
    crlSign: (bits & 0x02) !== 0,
  }
}

function usagesOf(value: Buffer): string[] {
  const usages = readElements(only(value, TAG.sequence).content)
  if (usages.length === 0 || usages.some(({ tag }) => tag !== TAG.oid))
    throw new NotDer('extended key usages')
  return usages.map(readOid)
}

function urisOf(value: Buffer | undefined): string[] {
  if (value === undefined) return []
  const names = readElements(only(value, TAG.sequence).content)
  if (names.length === 0) throw new NotDer('no name')
  const uris: string[] = []
  for (const { tag, content } of names) {
    if (tag === IP && (content.length === 4 || content.length === 16)) continue
    const text = content.toString('latin1')
    if ((tag !== DNS && tag !== URI) || !/^[!-~]+$/.test(text)) throw new NotDer('another name')
    if (tag === URI) uris.push(text)
  }
  return uris
}

function serialNumberOf(subjectDer: Buffer): string | null {
  const value = readName(subjectDer).find(({ id }) => id === SUBJECT_SERIAL_NUMBER)?.value ?? null
  if (value !== null && !/^[A-Za-z0-9-]+$/.test(value)) throw new NotDer('a serial number of the subject')
  return value
}

/** The one element that the bytes are. */
function only(der: Buffer, tag: number): Element {
  const [element, ...more] = readElements(der)
  if (element?.tag !== tag || more.length > 0) throw new NotDer('not one element of the wanted tag')
  return element
}
