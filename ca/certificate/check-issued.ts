// Reads again what was just signed, with other code than wrote it, before it is recorded or handed out: every field by the strict
// reader, the signature by OpenSSL. Each part has one encoding that passes, so what passes is what the tests show to all other
// readers; OpenSSL's own parser is not asked at run time, it costs as much as all of this. A difference to what was meant is a bug in
// us or in a library: nothing leaves then.

import { createPublicKey, hash, type KeyObject, verify, type X509Certificate } from 'node:crypto'
import { isIPv4 } from 'node:net'
import { type ReadCertificate, readCertificateDer, readName } from '../../mesh/certificate-der.js'
import { NotDer, readChildren, readElements, TAG } from '../../mesh/der.js'
import { MeshError } from '../../mesh/errors.js'
import type { Profile, Validity } from './profile.js'

/** The CA that signed, as its own certificate reads. */
export interface CheckedIssuer extends Validity {
  readonly publicKey: KeyObject
  readonly subjectDer: Buffer
  /** The subject key identifier, hex. */
  readonly keyId: string
}

/** What a certificate was meant to be. */
export interface Meant {
  readonly profile: Profile
  readonly spkiDer: Uint8Array
  /** Null: a root, which signs itself. */
  readonly issuer: CheckedIssuer | null
}

/** What of it is recorded, as it was read. */
export interface Checked extends Validity {
  readonly der: Buffer
  /** Lower-case hex. */
  readonly serial: string
  /** The one URI name. */
  readonly uri: string
  /** The serialNumber attribute of the subject. */
  readonly subjectSerialNumber: string | null
}

/** 16 octets, positive (RFC 5280 §4.1.2.2 allows 20). */
const SERIAL = /^[4-7][0-9a-f]{31}$/
const ECDSA_WITH_SHA256 = '300a06082a8648ce3d040302'
const ID = {
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  alternativeNames: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const
const ATTRIBUTES: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.10': 'O',
  '2.5.4.5': 'serialNumber',
}

/** Values, DER, hex: digitalSignature alone, or keyCertSign and cRLSign; cA with its path length. */
const USAGES: Readonly<
  Record<Profile['usage'], { readonly keyUsage: string; readonly constraints: string }>
> = {
  leaf: { keyUsage: '03020780', constraints: '3000' },
  issuing: { keyUsage: '03020106', constraints: '30060101ff020100' },
  root: { keyUsage: '03020106', constraints: '30060101ff020101' },
}
/** clientAuth and serverAuth, DER, hex, in ascending order. */
const BOTH_AUTHS = ['06082b06010505070301', '06082b06010505070302'].join()

/**
 * Reads what a CA's own certificate says, for the certificates it signs.
 * @throws NotDer when it is not of a form that this CA makes
 */
export function readIssuer(certificate: X509Certificate): CheckedIssuer {
  const { subjectDer, notBefore, notAfter, extensions } = readCertificateDer(certificate.raw)
  const value = extensions.find(({ id }) => id === ID.subjectKeyId)?.value
  const [keyId, ...more] = readElements(value ?? Buffer.alloc(0))
  if (keyId?.tag !== TAG.octetString || more.length > 0) throw new NotDer('no subject key identifier')
  return {
    publicKey: certificate.publicKey,
    subjectDer,
    keyId: keyId.content.toString('hex'),
    notBefore,
    notAfter,
  }
}

/**
 * Checks a certificate against what was meant: names, issuer bytes, signature, serial, validity inside the issuer's, key, usages,
 * and that it has no extension besides.
 * @throws MeshError ISSUE_CHECK_FAILED naming the first difference
 */
export function checkIssued(der: Buffer, meant: Meant): Checked {
  try {
    return check(der, meant)
  } catch (error) {
    if (error instanceof MeshError) throw error
    throw new MeshError('ISSUE_CHECK_FAILED', 'the certificate just signed cannot be read', { cause: error })
  }
}

function check(der: Buffer, { profile, spkiDer, issuer }: Meant): Checked {
  const read = readCertificateDer(der)
  const subject = readName(read.subjectDer)
  const extensions = new Map(read.extensions.map((each) => [each.id, each]))
  const names = namesIn(extensions.get(ID.alternativeNames)?.value)
  const checks: readonly [what: string, holds: boolean][] = [
    ['the algorithm', read.algorithms.every((each) => each === ECDSA_WITH_SHA256)],
    ['the signature', verify('sha256', read.tbsDer, issuer?.publicKey ?? keyOf(spkiDer), read.signature)],
    ['the issuer', read.issuerDer.equals(issuer?.subjectDer ?? read.subjectDer)],
    ['the serial', SERIAL.test(read.serial)],
    ['the validity', validityHolds(read, profile, issuer)],
    ['the key', read.spkiDer.equals(spkiDer)],
    ['the subject', textOf(subject) === wantedSubject(profile)],
    ['the names', names.join('\n') === wantedNames(profile).join('\n')],
    ['the usages', usagesHold(extensions, profile.usage)],
    ['the extensions', extensionsHold(read.extensions, profile.usage, issuer)],
    ['the key identifiers', keyIdsHold(extensions, spkiDer, issuer)],
  ]
  const wrong = checks.find(([, holds]) => !holds)
  if (wrong !== undefined)
    throw new MeshError('ISSUE_CHECK_FAILED', `${wrong[0]} of the certificate just signed is not as meant`)
  return {
    der,
    serial: read.serial,
    notBefore: read.notBefore,
    notAfter: read.notAfter,
    uri: names[0]?.slice('uri:'.length) ?? '',
    subjectSerialNumber: subject.find(({ id }) => ATTRIBUTES[id] === 'serialNumber')?.value ?? null,
  }
}

const keyOf = (spkiDer: Uint8Array): KeyObject =>
  createPublicKey({ key: Buffer.from(spkiDer), format: 'der', type: 'spki' })

function validityHolds(read: Validity, profile: Validity, issuer: Validity | null): boolean {
  const { notBefore, notAfter } = read
  const isInside = issuer === null || (notBefore >= issuer.notBefore && notAfter <= issuer.notAfter)
  return notBefore === profile.notBefore && notAfter === profile.notAfter && notBefore < notAfter && isInside
}

type Extensions = ReadonlyMap<string, { readonly critical: boolean; readonly value: Buffer }>

function usagesHold(extensions: Extensions, usage: Profile['usage']): boolean {
  const says = (id: string, wanted: string): boolean => {
    const extension = extensions.get(id)
    return extension?.critical === true && extension.value.toString('hex') === wanted
  }
  return (
    says(ID.keyUsage, USAGES[usage].keyUsage) &&
    says(ID.basicConstraints, USAGES[usage].constraints) &&
    (usage !== 'leaf' || authsIn(extensions.get(ID.extendedKeyUsage)?.value) === BOTH_AUTHS)
  )
}

function authsIn(value: Buffer | undefined): string {
  const [auths, ...more] = readElements(value ?? Buffer.alloc(0))
  if (auths?.tag !== TAG.sequence || more.length > 0) throw new NotDer('no extended key usage')
  return readElements(auths.content)
    .map(({ raw }) => raw.toString('hex'))
    .sort()
    .join()
}

/** Each of ours once and no other, and critical only what is judged with the usages. */
function extensionsHold(
  extensions: ReadCertificate['extensions'],
  usage: Profile['usage'],
  issuer: CheckedIssuer | null,
): boolean {
  const wanted = [
    ID.subjectKeyId,
    ID.keyUsage,
    ID.alternativeNames,
    ID.basicConstraints,
    ...(issuer === null ? [] : [ID.authorityKeyId]),
    ...(usage === 'leaf' ? [ID.extendedKeyUsage] : []),
  ]
  const critical = new Set<string>([ID.keyUsage, ID.basicConstraints])
  return (
    extensions
      .map(({ id }) => id)
      .sort()
      .join() === wanted.join() && extensions.every((each) => each.critical === critical.has(each.id))
  )
}

/** Its own is the SHA-1 of its key's bits (RFC 5280 §4.2.1.2, method 1), its issuer's what the issuer says of itself. */
function keyIdsHold(extensions: Extensions, spkiDer: Uint8Array, issuer: CheckedIssuer | null): boolean {
  const [, bits] = readChildren(Buffer.from(spkiDer), TAG.sequence, [TAG.sequence, TAG.bitString])
  const own = hash('sha1', bits.content.subarray(1))
  const subjectKeyId = extensions.get(ID.subjectKeyId)?.value.toString('hex')
  const authorityKeyId = extensions.get(ID.authorityKeyId)?.value.toString('hex')
  return (
    subjectKeyId === `0414${own}` &&
    authorityKeyId === (issuer === null ? undefined : `30168014${issuer.keyId}`)
  )
}

const textOf = (name: ReturnType<typeof readName>): string =>
  name.map(({ id, value }) => `${ATTRIBUTES[id] ?? id}=${value}`).join('\n')

const wantedSubject = ({ subject }: Profile): string =>
  subject.map(({ attribute, value }) => `${attribute}=${value}`).join('\n')

/** `uri:...`, `dns:...`, `ip:...` in order; read from the bytes, never from Node's text, which is ambiguous. */
function namesIn(value: Buffer | undefined): string[] {
  if (value === undefined) return []
  const [names, ...more] = readElements(value)
  if (names?.tag !== TAG.sequence || more.length > 0) throw new NotDer('not one list of names')
  return readElements(names.content).map(({ tag, content }) => {
    if (tag === 0x87) return `ip:${addressText(content)}`
    if (tag !== 0x86 && tag !== 0x82) throw new NotDer('a name of another kind')
    return `${tag === 0x86 ? 'uri' : 'dns'}:${content.toString('latin1')}`
  })
}

const wantedNames = ({ uri, dns, ip }: Profile): string[] => [
  `uri:${uri}`,
  ...dns.map((name) => `dns:${name}`),
  ...ip.map((address) => `ip:${isIPv4(address) ? address : canonicalIpv6(address)}`),
]

function addressText(octets: Buffer): string {
  if (octets.length === 4) return octets.join('.')
  if (octets.length !== 16) throw new NotDer('an address')
  return canonicalIpv6(octets.toString('hex').replace(/.{4}(?=.)/g, '$&:'))
}

/** One text for each address (RFC 5952). */
const canonicalIpv6 = (address: string): string => new URL(`http://[${address}]`).hostname
